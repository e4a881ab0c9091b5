//! Kubernetes events: queued, limited, repeats counted.
//!
//! Whoever has something to say never waits: [`EventQueue::publish`] puts it into a bounded queue.
//! One task sends at most [`RATE`] a second after a burst of [`BURST`]. What is said again about
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
/// Events that wait; further ones are dropped and counted.
pub const QUEUE: usize = 1000;
/// The last part of the queue is kept for warnings.
const RESERVED_FOR_WARNINGS: usize = QUEUE / 4;

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

/// Where events are handed in. Clones feed the same queue.
#[derive(Debug, Clone)]
pub struct EventQueue {
    sender: mpsc::Sender<Queued>,
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
        let (queue, receiver) = Self::new(registry)?;
        let sender = Sender::new(client, component, instance, queue.clone());
        Ok((queue, Task::spawn(sender.run(receiver))))
    }

    /// A queue that nobody empties: for tests of what is published.
    ///
    /// # Errors
    /// When `purelb_events_total` is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<(Self, mpsc::Receiver<(u64, Event)>)> {
        let options = Opts::new("purelb_events_total", "Kubernetes events: sent, repeated (only counted), dropped (queue full), failed");
        let outcomes = IntCounterVec::new(options, &["outcome"])?;
        registry.register(Box::new(outcomes.clone()))?;
        for outcome in ["sent", "repeated", "dropped", "failed"] {
            outcomes.with_label_values(&[outcome]);
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let repeats = Arc::new(Mutex::new(Repeats::default()));
        Ok((Self { sender, repeats, outcomes }, receiver))
    }

    /// Hands an event in. Never waits.
    pub fn publish(&self, event: Event) {
        let key = event.key();
        if self.with_repeats(|repeats| repeats.seen(key, BootTime::now())) {
            self.count("repeated");
            return;
        }
        let room = match event.kind {
            Kind::Normal => self.sender.capacity() > RESERVED_FOR_WARNINGS,
            Kind::Warning => true,
        };
        if !room || self.sender.try_send((key, event)).is_err() {
            self.with_repeats(|repeats| repeats.forget(key));
            self.count("dropped");
        }
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

    #[test]
    fn repeats_are_not_queued() {
        let (queue, mut receiver) = EventQueue::new(&Registry::new()).unwrap();
        for _ in 0..5 {
            queue.publish(event("web", Kind::Warning, "exhausted"));
        }
        queue.publish(event("web", Kind::Warning, "denied"));
        assert_eq!(receiver.try_recv().unwrap().1.note, "exhausted");
        assert_eq!(receiver.try_recv().unwrap().1.note, "denied");
        assert!(receiver.try_recv().is_err());
        assert_eq!(queue.outcomes.with_label_values(&["repeated"]).get(), 4);
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_keeps_room_for_warnings() {
        let (queue, mut receiver) = EventQueue::new(&Registry::new()).unwrap();
        for number in 0..QUEUE {
            queue.publish(event(&number.to_string(), Kind::Normal, ""));
        }
        assert_eq!(queue.outcomes.with_label_values(&["dropped"]).get(), 250);
        queue.publish(event("last", Kind::Warning, ""));
        let mut last = None;
        while let Ok((_, event)) = receiver.try_recv() {
            last = event.object.name;
        }
        assert_eq!(last.as_deref(), Some("last"));
    }
}
