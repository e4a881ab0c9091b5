//! Kubernetes events: queued, limited, repeats counted.
//!
//! Whoever has something to say never waits: [`EventQueue::publish`] puts it into a bounded queue.
//! One task sends at most [`RATE`] a second after a burst of [`BURST`], warnings first. What is said again about
//! the same object is not queued, but counted, and the count is sent once a minute.

mod limit;
mod repeats;
mod send;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::core::Resource;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::sync::mpsc;

use crate::{BootTime, Task};
use repeats::Repeats;
use send::Sender;

/// Events per second.
pub const RATE: u32 = 10;
/// Events at once after a pause.
pub const BURST: u32 = 50;
/// Events of each kind that wait; further ones are dropped and counted.
pub const QUEUE: usize = 500;

/// How urgent an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// As planned.
    Normal,
    /// Somebody should look at it.
    Warning,
}

impl Kind {
    /// The spelling of the Kubernetes API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Something to say about an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The object; see [`reference`].
    pub object: ObjectReference,
    /// How urgent it is.
    pub kind: Kind,
    /// One word in `CamelCase`, from `api_types::names::reason`.
    pub reason: &'static str,
    /// A sentence for people. Cut after 1,000 bytes.
    pub note: String,
}

impl Event {
    /// The same key means the same thing is said again.
    fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.object.kind, &self.object.namespace, &self.object.name, &self.object.uid).hash(&mut hasher);
        (self.kind, self.reason, &self.note).hash(&mut hasher);
        hasher.finish()
    }
}

/// How an event refers to an object.
#[must_use]
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

/// An event on its way, with its key.
type Queued = (u64, Event);

/// The other end of an [`EventQueue`].
#[derive(Debug)]
pub struct Waiting {
    warnings: mpsc::Receiver<Queued>,
    normal: mpsc::Receiver<Queued>,
}

impl Waiting {
    /// The next event, with its key; nothing when all queues are dropped.
    pub async fn recv(&mut self) -> Option<(u64, Event)> {
        tokio::select! {
            biased;
            Some(queued) = self.warnings.recv() => Some(queued),
            Some(queued) = self.normal.recv() => Some(queued),
            else => None,
        }
    }
}

/// Where events are handed in. Clones feed the same queue.
#[derive(Debug, Clone)]
pub struct EventQueue {
    warnings: mpsc::Sender<Queued>,
    normal: mpsc::Sender<Queued>,
    repeats: Arc<Mutex<Repeats>>,
    outcomes: IntCounterVec,
}

impl EventQueue {
    /// Starts the task that sends; it ends with the returned owner.
    ///
    /// `component` is shown as the source (`purelb-allocator` or `purelb-lbnodeagent`), `instance`
    /// tells which pod or node.
    ///
    /// # Errors
    /// When `purelb_events_total` is registered already.
    pub fn start(
        client: Client,
        component: &'static str,
        instance: &str,
        registry: &Registry,
    ) -> prometheus::Result<(Self, Task)> {
        let (queue, waiting) = Self::new(registry)?;
        let sender = Sender::new(client, component, instance, queue.clone());
        Ok((queue, Task::spawn(sender.run(waiting))))
    }

    /// A queue that nobody empties: for tests of what is published.
    ///
    /// # Errors
    /// When `purelb_events_total` is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<(Self, Waiting)> {
        let options = Opts::new(
            "purelb_events_total",
            "Kubernetes events: sent, repeated (only counted), dropped (queue full), failed",
        );
        let outcomes = IntCounterVec::new(options, &["outcome"])?;
        registry.register(Box::new(outcomes.clone()))?;
        for outcome in ["sent", "repeated", "dropped", "failed"] {
            outcomes.with_label_values(&[outcome]);
        }
        let (warnings, waiting_warnings) = mpsc::channel(QUEUE);
        let (normal, waiting_normal) = mpsc::channel(QUEUE);
        let repeats = Arc::new(Mutex::new(Repeats::default()));
        let waiting = Waiting { warnings: waiting_warnings, normal: waiting_normal };
        Ok((Self { warnings, normal, repeats, outcomes }, waiting))
    }

    /// Hands an event in. Never waits.
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

    /// Forgets what was said, so that it is queued again: for tests that wait for the same thing several times.
    pub fn forget(&self) {
        self.with_repeats(|repeats| *repeats = Repeats::default());
    }

    fn with_repeats<T>(&self, work: impl FnOnce(&mut Repeats) -> T) -> T {
        work(&mut self.repeats.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(queue.outcomes.with_label_values(&["repeated"]).get(), 4);
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
        for number in 0..QUEUE + 10 {
            queue.publish(event(&number.to_string(), Kind::Normal, ""));
        }
        assert_eq!(queue.outcomes.with_label_values(&["dropped"]).get(), 10);
        queue.publish(event("urgent", Kind::Warning, ""));
        assert_eq!(waiting.recv().await.unwrap().1.object.name.as_deref(), Some("urgent"));
        assert_eq!(waiting.recv().await.unwrap().1.object.name.as_deref(), Some("0"));
    }
}
