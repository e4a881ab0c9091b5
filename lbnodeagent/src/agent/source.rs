//! Whether the kernel gives an address of ours to the node's own packets.

use api_types::Family;
use api_types::names::reason;

use super::Agent;
use crate::decide::source::problem;

impl Agent {
    /// Asks the kernel, if an address, an interface or a route has changed since the last time, and reports a new answer.
    pub(super) async fn check_source(&mut self) {
        if !std::mem::take(&mut self.source_changed) || !self.first_pass_done {
            return;
        }
        for family in Family::ALL {
            let source = match self.host.call(move |kernel| kernel.default_source(family)).await {
                Ok(source) => source,
                Err(error) => {
                    tracing::debug!(op = "source", %error, "the kernel does not say which source it chooses");
                    return;
                }
            };
            let (observed, dummy) = (self.host.observed(), self.dummy.index());
            let problem = source.and_then(|source| problem(observed, self.ours(), dummy, source));
            let ours = source.filter(|_| problem.is_some());
            let new = self.problems.note_source(family, ours);
            if let Some(text) = problem.filter(|_| new) {
                tracing::warn!(op = "source", event = reason::SOURCE_ADDRESS, "{text}");
                self.reporter.node(&self.cluster, reason::SOURCE_ADDRESS, &text);
            }
        }
    }
}
