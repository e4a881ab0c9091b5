//! Whether this process leads, and since when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::BootTime;

/// Whether this process may act as the leader. Clones share one state.
///
/// Asking compares clocks only, so the answer is right even directly after the process was suspended.
#[derive(Debug, Clone)]
pub struct Leadership {
    /// The [`BootTime`] in milliseconds after which no write may start. 0 means that this process does not lead.
    until: Arc<AtomicU64>,
}

impl Leadership {
    /// Whether a write may start now. One that takes longer than a write of the Lease may arrive after the end of the
    /// leadership.
    #[must_use]
    pub fn is_held(&self) -> bool {
        BootTime::now().as_millis() < self.until.load(Ordering::Acquire)
    }

    /// The state of a process that does not lead.
    pub(super) fn lost() -> Self {
        Self { until: Arc::new(AtomicU64::new(0)) }
    }

    /// Sets until when writes may start.
    pub(super) fn set(&self, until: Option<BootTime>) {
        self.until.store(until.map_or(0, BootTime::as_millis), Ordering::Release);
    }
}

/// Whether a process can do the work of a leader. Clones share one state. At first it can.
///
/// One that cannot neither takes nor renews the Lease, so that another replica takes over.
#[derive(Debug, Clone)]
pub struct Ability(Arc<AtomicBool>);

impl Default for Ability {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Ability {
    /// Sets it. Returns whether that is a change.
    #[must_use]
    pub fn set(&self, able: bool) -> bool {
        self.0.swap(able, Ordering::AcqRel) != able
    }

    /// Whether the process can lead.
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A time during which this process leads without interruption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The number of the term, unique in this process. Counts from 1.
    pub number: u64,
    /// Whether no write of the previous leader can still arrive: it released the Lease, or there was none.
    pub clean: bool,
    /// What the previous leader said last, by its [`Statement`](super::Statement).
    pub statement: Option<Arc<str>>,
}

/// Why the Lease cannot be written: the API server did not answer several attempts in a row in time.
///
/// No replica can then become the leader or stay it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritable {
    /// How long each attempt waited for its answer.
    pub deadline: Duration,
}
