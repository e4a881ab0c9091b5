//! The Kubernetes events of the agent.

use futures::FutureExt;

use super::Node;
use crate::support::eventually;

impl Node {
    /// The reasons of the events since the last call.
    pub fn event_reasons(&mut self) -> Vec<&'static str> {
        self.events().into_iter().map(|(reason, _)| reason).collect()
    }

    /// The events since the last call: reason and text.
    pub fn events(&mut self) -> Vec<(&'static str, String)> {
        let waiting = std::iter::from_fn(|| self.events.recv().now_or_never().flatten());
        waiting.map(|(_, event)| (event.reason, event.note)).collect()
    }

    /// Discards the events until now, and lets the queue forget them: otherwise it would only count repeated ones.
    pub fn forget_events(&mut self) {
        self.queue.forget();
        self.discard_events();
    }

    /// Waits for an event with one of these reasons. Call [`Self::forget_events`] before its cause.
    pub async fn wait_for_event(&mut self, reasons: &[&str]) {
        eventually(&format!("an event {reasons:?}"), || {
            self.event_reasons().iter().any(|reason| reasons.contains(reason))
        })
        .await;
    }

    /// Waits for an event with one of these reasons, or for the repetition of any event, which the queue only counts.
    pub async fn wait_for_event_or_repeat(&mut self, reasons: &[&str], repeated_before: u64) {
        eventually(&format!("an event {reasons:?}"), || {
            self.event_reasons().iter().any(|reason| reasons.contains(reason)) || self.repeated() > repeated_before
        })
        .await;
    }

    /// Discards the events until now. Returns the number of repetitions, for [`Self::wait_for_event_or_repeat`].
    pub fn discard_events(&mut self) -> u64 {
        self.events();
        self.repeated()
    }

    /// How many events were only counted, because the same event had been published before.
    pub fn repeated(&self) -> u64 {
        let metrics = self.metrics();
        let count = metrics.lines().find_map(|line| line.strip_prefix(r#"purelb_events_total{outcome="repeated"} "#));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}
