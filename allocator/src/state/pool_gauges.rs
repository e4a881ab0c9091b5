//! The gauges of pools, computed when somebody asks for them.

use std::collections::BTreeSet;

use api_types::Group;

use super::index::Index;
use crate::metrics::PoolUse;
use crate::model::is_external;

impl Index {
    /// Brings the gauges of pools up to date. Only the leader exports them, so that a sum over all replicas is right.
    pub fn refresh_pool_gauges(&mut self) {
        let accepted = self.groups.table().accepted().filter(|_| self.leading).map(|(_, group)| group);
        let pools: Vec<(&str, PoolUse)> = accepted.map(|group| (group.name.as_str(), self.pool_use(group))).collect();
        let shown: BTreeSet<String> = pools.iter().map(|(name, _)| (*name).to_owned()).collect();
        for (name, pool) in pools {
            self.metrics.set_pool(name, &pool);
        }
        for gone in self.shown_pools.difference(&shown) {
            self.metrics.remove_pool(gone);
        }
        self.shown_pools = shown;
    }

    fn pool_use(&self, group: &Group) -> PoolUse {
        let (mut used, mut size) = (0.0, 0.0);
        if let Some(stats) = self.external.stats(&group.name) {
            used = approximate(u128::from(stats.used.0) + u128::from(stats.used.1));
            size = stats.size.map_or(0.0, |(v4, v6)| approximate(u128::from(v4) + u128::from(v6)));
        }
        for pool in &group.pools {
            used += approximate(self.addresses.used(pool.range));
            size += approximate(pool.range.size());
        }
        let pending = || i64::try_from(self.external.pending_releases(&group.name).count()).unwrap_or(i64::MAX);
        PoolUse { size, used, releases_pending: is_external(group).then(pending) }
    }
}

/// A count as a metric: the nearest number of double precision.
fn approximate(number: u128) -> f64 {
    let part = |shift: u32| f64::from(u32::try_from((number >> shift) & 0xffff_ffff).unwrap_or_default());
    part(0) + part(32) * 2_f64.powi(32) + part(64) * 2_f64.powi(64) + part(96) * 2_f64.powi(96)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "powers of two are exact")]
    fn counts_become_numbers_of_double_precision() {
        for number in [0, 1, 256, 1 << 64, 1 << 127] {
            assert_eq!(approximate(number).log2().exp2(), approximate(number));
        }
        assert_eq!(approximate(1 << 64), 2_f64.powi(64));
        assert_eq!(approximate(251), 251.0);
    }
}
