//! The queue of events that wait to be sent.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::mpsc;

use super::event::{Event, Kind};
use super::repeats::Repeats;
use crate::BootTime;

/// How many events of each type can wait. Further ones are dropped and counted.
pub const QUEUE_CAPACITY: usize = 500;

/// An event that waits to be sent, with its key.
type Queued = (u64, Event);

/// The receiving end of an [`EventQueue`].
#[derive(Debug)]
pub struct EventReceiver {
    warnings: mpsc::Receiver<Queued>,
    normal: mpsc::Receiver<Queued>,
}

impl EventReceiver {
    /// The next event with its key, warnings first. Returns `None` when all queues are dropped.
    pub async fn recv(&mut self) -> Option<(u64, Event)> {
        tokio::select! {
            biased;
            Some(queued) = self.warnings.recv() => Some(queued),
            Some(queued) = self.normal.recv() => Some(queued),
            else => None,
        }
    }
}

/// The sending end of the queue. Clones send into the same queue.
#[derive(Debug, Clone)]
pub struct EventQueue {
    warnings: mpsc::Sender<Queued>,
    normal: mpsc::Sender<Queued>,
    repeats: Arc<Mutex<Repeats>>,
    outcomes: IntCounterVec,
}

impl EventQueue {
    /// Makes a queue without a task that sends. Tests use it to see what is published.
    ///
    /// # Errors
    /// `purelb_events_total` is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<(Self, EventReceiver)> {
        let options = Opts::new(
            "purelb_events_total",
            "Kubernetes events: sent, repeated (only counted), dropped (queue full), failed",
        );
        let outcomes = IntCounterVec::new(options, &["outcome"])?;
        registry.register(Box::new(outcomes.clone()))?;
        for outcome in ["sent", "repeated", "dropped", "failed"] {
            outcomes.with_label_values(&[outcome]);
        }
        let (warnings, waiting_warnings) = mpsc::channel(QUEUE_CAPACITY);
        let (normal, waiting_normal) = mpsc::channel(QUEUE_CAPACITY);
        let repeats = Arc::new(Mutex::new(Repeats::default()));
        let waiting = EventReceiver { warnings: waiting_warnings, normal: waiting_normal };
        Ok((Self { warnings, normal, repeats, outcomes }, waiting))
    }

    /// Puts an event into the queue, or counts it if it repeats an earlier one. Never waits.
    pub fn publish(&self, event: Event) {
        let key = event.key();
        if self.with_repeats(|repeats| repeats.seen(key, BootTime::now())) {
            self.count("repeated");
            return;
        }
        let queue = match event.kind {
            Kind::Normal => &self.normal,
            Kind::Warning => &self.warnings,
        };
        if queue.try_send((key, event)).is_err() {
            self.with_repeats(|repeats| repeats.forget(key));
            self.count("dropped");
        }
    }

    /// Forgets all earlier events, so that repeats are queued again. Tests that wait for the same event twice use it.
    pub fn forget(&self) {
        self.with_repeats(|repeats| *repeats = Repeats::default());
    }

    pub(super) fn with_repeats<T>(&self, work: impl FnOnce(&mut Repeats) -> T) -> T {
        work(&mut self.repeats.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts what became of an event.
    pub(super) fn count(&self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }

    /// How many events have had this outcome.
    pub(super) fn counted(&self, outcome: &str) -> u64 {
        self.outcomes.with_label_values(&[outcome]).get()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;

    fn event(name: &str, kind: Kind, note: &str) -> Event {
        let object = ObjectReference { name: Some(name.to_owned()), ..ObjectReference::default() };
        Event { object, kind, reason: "AllocationFailed", note: note.to_owned() }
    }

    #[tokio::test]
    async fn repeats_are_not_queued() {
        let (queue, mut waiting) = EventQueue::new(&Registry::new()).unwrap();
        for _ in 0..5 {
            queue.publish(event("web", Kind::Warning, "exhausted"));
        }
        queue.publish(event("web", Kind::Warning, "denied"));
        assert_eq!(queue.counted("repeated"), 4);
        queue.forget();
        queue.publish(event("web", Kind::Warning, "denied"));
        assert_eq!(waiting.recv().await.unwrap().1.note, "exhausted");
        assert_eq!(waiting.recv().await.unwrap().1.note, "denied");
        assert_eq!(waiting.recv().await.unwrap().1.note, "denied");
        drop(queue);
        assert!(waiting.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts_and_warnings_come_first() {
        let (queue, mut waiting) = EventQueue::new(&Registry::new()).unwrap();
        for number in 0..QUEUE_CAPACITY + 10 {
            queue.publish(event(&number.to_string(), Kind::Normal, ""));
        }
        assert_eq!(queue.counted("dropped"), 10);
        queue.publish(event("urgent", Kind::Warning, ""));
        assert_eq!(waiting.recv().await.unwrap().1.object.name.as_deref(), Some("urgent"));
        assert_eq!(waiting.recv().await.unwrap().1.object.name.as_deref(), Some("0"));
    }
}
