//! Segments: who reaches whom, and how badly.

use std::collections::BTreeSet;

use ownership::model::rng::Rng;
use std::time::Duration;

/// A place on a segment: node or host number, and segment number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    pub host: usize,
    pub segment: usize,
}

#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Sends nothing.
    pub mute: BTreeSet<Port>,
    /// Hears nothing.
    pub deaf: BTreeSet<Port>,
    /// One-way faults between two.
    pub blocked: BTreeSet<(Port, Port)>,
    /// Per mille.
    pub loss: usize,
    pub duplicates: usize,
    pub delay_min_us: u64,
    pub delay_spread_us: usize,
    /// A switch answers from its cache within so long.
    pub cache_us: u64,
}

impl Network {
    pub fn carries(&self, from: Port, to: Port) -> bool {
        from.segment == to.segment
            && !self.mute.contains(&from)
            && !self.deaf.contains(&to)
            && !self.blocked.contains(&(from, to))
    }

    pub fn both_ways(&self, a: Port, b: Port) -> bool {
        self.carries(a, b) && self.carries(b, a)
    }

    pub fn cut(&mut self, port: Port) {
        self.mute.insert(port);
        self.deaf.insert(port);
    }

    pub fn heal(&mut self, port: Port) {
        self.mute.remove(&port);
        self.deaf.remove(&port);
    }

    /// When copies of a packet arrive, if at all. Loss counts between nodes, not within a host.
    pub fn arrivals(&self, from: Port, to: Port, rng: &mut Rng) -> [Option<Duration>; 2] {
        if !self.carries(from, to) {
            return [None; 2];
        }
        let first = rng.below(1000) >= self.loss;
        let second = first && rng.below(1000) < self.duplicates;
        [first, second].map(|arrives| {
            arrives.then(|| {
                let spread = u64::try_from(rng.below(self.delay_spread_us + 1)).unwrap();
                Duration::from_micros(self.delay_min_us + spread)
            })
        })
    }
}
