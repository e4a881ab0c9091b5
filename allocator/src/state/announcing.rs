//! What is known only to find addresses that nobody announces.

use runtime::BootTime;

use super::endpoints::Endpoints;
use super::held_reports::AgentReports;
use super::unannounced::{INTERVAL, Unannounced, Wanted};
use crate::model::ServiceName;

/// What is known only to find addresses that nobody announces.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    pub(super) endpoints: Endpoints,
    pub(super) reports: AgentReports,
    pub(super) unannounced: Unannounced,
    /// Whether some Service has the traffic policy `Local`.
    pub(super) needs_endpoints: bool,
    /// Whether every agent that is alive has told all, since the term began.
    pub(super) ready: bool,
    /// Something has changed, or time alone may change something.
    pub(super) dirty: bool,
    /// When the addresses were looked at last.
    pub(super) looked: Option<BootTime>,
}

impl Announcing {
    /// Something has changed that the answer may depend on.
    pub(super) const fn touch(&mut self) {
        self.dirty = true;
    }

    /// A term begins.
    pub(super) fn begin(&mut self) {
        (self.unannounced, self.ready, self.dirty, self.looked) = (Unannounced::default(), false, true, None);
    }

    /// The term is over.
    pub(super) fn end(&mut self) {
        self.begin();
        self.needs_endpoints = false;
    }

    /// What the condition `NotAnnounced` of the Service should be.
    pub(super) fn wanted(&self, name: &ServiceName) -> Wanted<'_> {
        self.unannounced.wanted(name)
    }

    /// Whether to look at the addresses now.
    pub(super) fn is_due(&self, now: BootTime) -> bool {
        self.dirty && self.looked.is_none_or(|looked| now.since(looked) >= INTERVAL)
    }
}
