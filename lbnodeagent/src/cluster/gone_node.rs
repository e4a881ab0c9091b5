//! Whether this node's Node object was deleted while the machine runs on.
//!
//! Such a node has left the cluster: others take over what it serves. An API server that shows no Node for a moment, or
//! cannot be asked, says nothing, and a Node that is made anew is the same machine.

use std::time::Duration;

use runtime::BootTime;

/// How long a Node must be missing.
const GONE_AFTER: Duration = Duration::from_secs(5);

/// What is known of the Node's absence.
#[derive(Debug, Default)]
pub(super) struct GoneNode {
    /// Since when it is missing, while the watches are current.
    missing: Option<BootTime>,
    /// A list is in progress and has not contained it so far.
    unlisted: bool,
    gone: bool,
}

impl GoneNode {
    /// The Node is there.
    pub(super) const fn seen(&mut self) {
        (self.missing, self.unlisted) = (None, false);
    }

    /// The Node was deleted.
    pub(super) fn missed(&mut self, now: BootTime) {
        self.missing.get_or_insert(now);
    }

    pub(super) const fn list_begins(&mut self) {
        self.unlisted = true;
    }

    pub(super) fn list_ends(&mut self, now: BootTime) {
        if std::mem::take(&mut self.unlisted) {
            self.missed(now);
        }
    }

    /// Handles the passing of time; returns whether the answer of [`GoneNode::is_gone`] changed. While watches are not
    /// current, the time does not count, and the answer stays.
    pub(super) fn judge(&mut self, current: bool, now: BootTime) -> bool {
        if !current {
            self.missing = self.missing.map(|_| now);
            return false;
        }
        let gone = self.missing.is_some_and(|missing| self.gone || now.since(missing) >= GONE_AFTER);
        std::mem::replace(&mut self.gone, gone) != gone
    }

    /// Whether the node has left the cluster.
    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }
}
