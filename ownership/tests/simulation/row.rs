//! A row of the table: a scenario over many seeds, and the bounds of what it measured.

use std::time::Duration;

use ownership::Time;

use crate::sim::{Cluster, Family, Setup};

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn seeds(default: u64) -> u64 {
    let wanted: Option<u64> = std::env::var("OWNERSHIP_SEEDS").ok().and_then(|text| text.parse().ok());
    wanted.unwrap_or(default).max(1)
}

/// What a row saw.
#[derive(Debug, Default)]
pub struct Row {
    pub without: Vec<Duration>,
    pub double: Vec<Duration>,
}

/// Runs a row: the scenario ends with the cluster at its end and says from when on to look, at how many addresses.
pub fn row(name: &str, setup: &Setup, mut scenario: impl FnMut(&mut Cluster) -> Time) -> Row {
    let mut row = Row::default();
    for seed in 1..=seeds(20) {
        let mut cluster = Cluster::settled(Setup { seed, family: Family::of(seed), ..setup.clone() });
        for number in 0..setup.vips {
            if cluster.owner(cluster.vip(number)).is_none() {
                cluster.fail("not settled");
            }
        }
        let after = scenario(&mut cluster);
        for address in cluster.specs.keys() {
            let (without, double) = (cluster.without(*address, after), cluster.double(*address, after));
            if std::env::var("OWNERSHIP_FAIL_MS").is_ok_and(|limit| without.max(double) > ms(limit.parse().unwrap())) {
                cluster.fail(&format!("{without:?} without, {double:?} double at {address}"));
            }
            if without > ms(1000) {
                cluster.fail(&format!("{name}: {without:?} without an answer at {address}"));
            }
            row.without.push(without);
            row.double.push(double);
        }
    }
    row.without.sort();
    row.double.sort();
    println!(
        "{name}: without median {:?} worst {:?}; double worst {:?}",
        row.affected(),
        row.worst(),
        row.worst_double()
    );
    row
}

impl Row {
    /// The median of the addresses that were without an answer at all.
    pub fn affected(&self) -> Duration {
        let affected: Vec<_> = self.without.iter().filter(|span| !span.is_zero()).collect();
        affected.get(affected.len() / 2).map_or(Duration::ZERO, |span| **span)
    }

    pub fn worst(&self) -> Duration {
        self.without.last().copied().unwrap_or_default()
    }

    pub fn worst_double(&self) -> Duration {
        self.double.last().copied().unwrap_or_default()
    }

    #[track_caller]
    pub fn bounds(&self, median: u64, worst: u64, double: u64) {
        assert!(self.affected() <= ms(median), "median {:?}", self.affected());
        assert!(self.worst() <= ms(worst), "worst {:?}", self.worst());
        assert!(self.worst_double() <= ms(double), "double {:?}", self.worst_double());
    }
}

pub fn wait(cluster: &mut Cluster, below: usize) {
    let pause = u64::try_from(cluster.rng.below(below)).unwrap();
    cluster.run(ms(pause));
}

pub fn owner(cluster: &Cluster, number: usize) -> usize {
    cluster.owner(cluster.vip(number)).unwrap_or_else(|| cluster.fail("no owner"))
}
