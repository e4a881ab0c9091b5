//! Which lists have been read, and whether that is enough to begin.

use std::time::Duration;

use runtime::BootTime;
use tracing::warn;

/// How long the lists are awaited that only say which addresses nobody may have.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which lists have been read completely, or cannot be read.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each stands for one list")]
pub(super) struct Loaded {
    pub(super) services: bool,
    pub(super) groups: bool,
    pub(super) leases: bool,
    pub(super) nodes: bool,
    pub(super) external_ips: bool,
    pub(super) service_cidrs: bool,
    /// Since when only lists are missing that are awaited for a limited time.
    waiting: Option<BootTime>,
    enough: bool,
}

impl Loaded {
    /// Whether this replica knows enough to give addresses: all Services and groups, and the rest unless it does not come
    /// in time.
    pub(super) fn is_enough(&mut self, now: BootTime) -> bool {
        if self.enough {
            return true;
        }
        if !(self.services && self.groups) {
            return false;
        }
        let since = *self.waiting.get_or_insert(now);
        let missing = self.missing();
        if !missing.is_empty() {
            if now.since(since) < PATIENCE {
                return false;
            }
            warn!(op = "list", missing = missing.join(", "), "some lists cannot be read: going on without them");
        }
        self.enough = true;
        true
    }

    fn missing(&self) -> Vec<&'static str> {
        let lists = [
            (self.leases, "Leases"),
            (self.nodes, "Nodes"),
            (self.external_ips, "Services of other types"),
            (self.service_cidrs, "ServiceCIDRs"),
        ];
        lists.into_iter().filter(|(read, _)| !read).map(|(_, what)| what).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_given_before_leases_and_nodes_are_read_but_that_does_not_last() {
        let at = |millis| BootTime::from_duration(Duration::from_millis(millis));
        let mut loaded = Loaded { groups: true, ..Loaded::default() };
        assert!(!loaded.is_enough(at(60_000)));
        loaded.services = true;
        assert!(!loaded.is_enough(at(60_000)));
        (loaded.leases, loaded.nodes, loaded.external_ips) = (true, true, true);
        assert!(!loaded.is_enough(at(64_999)));
        assert!(loaded.is_enough(at(65_000)));
        let all = Loaded { leases: true, nodes: true, external_ips: true, service_cidrs: true, ..Loaded::default() };
        assert!(Loaded { services: true, groups: true, ..all }.is_enough(at(0)));
    }
}
