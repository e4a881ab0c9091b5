//! The replay window of a session: each sequence number counts once.

/// Which of the last 128 sequence numbers have come.
#[derive(Debug)]
pub(super) struct ReplayWindow {
    highest: u64,
    /// Bit n: sequence `highest - n` was seen.
    seen: u128,
}

impl ReplayWindow {
    /// For a sender that has proved itself with this number: all up to it count as seen.
    pub const fn after(sequence: u64) -> Self {
        Self { highest: sequence, seen: u128::MAX }
    }

    /// Whether this number comes for the first time; one that is too old counts as seen.
    pub const fn accept(&mut self, sequence: u64) -> bool {
        if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.seen = if ahead < 128 { self.seen << ahead } else { 0 };
            self.highest = sequence;
        }
        let behind = self.highest - sequence;
        if behind >= 128 || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}
