//! When a watch counts as current, by its requests, its errors and its events.

use std::time::Duration;

use kube::runtime::watcher::Event;
use tokio::time::Instant;

/// How long an interrupted watch still counts as current. Servers end watches every few minutes, and forget old
/// resource versions. Both take a round trip and a list until the watch is open again.
pub(super) const GRACE_PERIOD: Duration = Duration::from_secs(2);

/// The state of one watch.
#[derive(Debug)]
pub(super) struct Health {
    /// Whether a list is in progress. The state is not complete before its end.
    listing: bool,
    /// Since when a request is unanswered, an error is not recovered from, or a list is incomplete.
    interrupted: Option<Instant>,
    /// What [`Self::change`] returned last.
    reported: bool,
}

impl Default for Health {
    /// The state before the first list.
    fn default() -> Self {
        Self { listing: true, interrupted: None, reported: false }
    }
}

impl Health {
    /// A request was sent, or it failed.
    pub(super) fn interrupt(&mut self, now: Instant) {
        self.interrupted.get_or_insert(now);
    }

    /// A request was answered. It was that of the watch, unless a list is in progress. A list counts only when
    /// complete.
    pub(super) const fn answered(&mut self) {
        if !self.listing {
            self.interrupted = None;
        }
    }

    /// An event of the list or of the watch has arrived.
    pub(super) fn handle<K>(&mut self, event: &Event<K>, now: Instant) {
        match event {
            Event::Init => {
                self.listing = true;
                self.interrupt(now);
            }
            Event::InitApply(_) => {}
            Event::InitDone => {
                self.listing = false;
                self.interrupted = None;
            }
            Event::Apply(_) | Event::Delete(_) => self.answered(),
        }
    }

    /// When to call [`Self::change`] again if nothing happens before.
    pub(super) fn due(&self) -> Option<Instant> {
        self.interrupted.filter(|_| self.reported).map(|since| since + GRACE_PERIOD)
    }

    /// Whether the watch is current, if that has changed since the last call.
    pub(super) fn change(&mut self, now: Instant) -> Option<bool> {
        let current = match self.interrupted {
            None => !self.listing,
            Some(since) => self.reported && now.saturating_duration_since(since) < GRACE_PERIOD,
        };
        let changed = current != self.reported;
        self.reported = current;
        changed.then_some(current)
    }
}
