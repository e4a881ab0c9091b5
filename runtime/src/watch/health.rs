//! Whether a watch shows what there is: judged by its requests, errors and events, with patience for daily business.

use std::time::Duration;

use kube::runtime::watcher::Event;
use tokio::time::Instant;

/// How long a watch may take to be there again. Servers end watches every few minutes, and forget old versions; all
/// that is over within a round trip and a list.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Health {
    /// A list is in progress: what it has not brought yet is not known.
    listing: bool,
    /// Since when there is an unanswered request, an error or an incomplete list.
    trouble: Option<Instant>,
    /// What was told last; nothing is current before the first list.
    told: bool,
}

impl Default for Health {
    /// Before the first list.
    fn default() -> Self {
        Self { listing: true, trouble: None, told: false }
    }
}

impl Health {
    /// A request was sent, or failed.
    pub(super) fn trouble(&mut self, now: Instant) {
        self.trouble.get_or_insert(now);
    }

    /// A request was answered: that of the watch, unless there is a list in progress, which has to be complete.
    pub(super) const fn answered(&mut self) {
        if !self.listing {
            self.trouble = None;
        }
    }

    /// An event came.
    pub(super) fn event<K>(&mut self, event: &Event<K>, now: Instant) {
        match event {
            Event::Init => {
                self.listing = true;
                self.trouble(now);
            }
            Event::InitApply(_) => {}
            Event::InitDone => {
                self.listing = false;
                self.trouble = None;
            }
            Event::Apply(_) | Event::Delete(_) => self.answered(),
        }
    }

    /// When [`Self::news`] is to be asked for again if nothing happens.
    pub(super) fn due(&self) -> Option<Instant> {
        self.trouble.filter(|_| self.told).map(|since| since + PATIENCE)
    }

    /// Whether the watch is current, if that is something new.
    pub(super) fn news(&mut self, now: Instant) -> Option<bool> {
        let current = match self.trouble {
            None => !self.listing,
            Some(since) => self.told && now.saturating_duration_since(since) < PATIENCE,
        };
        let new = current != self.told;
        self.told = current;
        new.then_some(current)
    }
}
