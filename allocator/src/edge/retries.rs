//! Writes to send again at a later time.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::BootTime;
use runtime::backoff::Backoff;

use crate::state::ServicePatch;

/// A write, and the backoff that its attempts have in common.
pub(super) type Attempt = (ServicePatch, Backoff);

/// Writes by the time at which they are sent.
#[derive(Debug, Default)]
pub(super) struct Retries {
    later: BTreeMap<(BootTime, u64), Attempt>,
    /// Keeps writes of the same time apart.
    sequence: u64,
}

impl Retries {
    /// Adds a write that is sent after the delay.
    pub(super) fn add(&mut self, delay: Duration, attempt: Attempt) {
        self.sequence = self.sequence.wrapping_add(1);
        self.later.insert((BootTime::now() + delay, self.sequence), attempt);
    }

    /// Removes the first write whose time has come.
    pub(super) fn take_due(&mut self, now: BootTime) -> Option<Attempt> {
        let first = self.later.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    /// Drops all writes.
    pub(super) fn clear(&mut self) {
        self.later.clear();
    }
}
