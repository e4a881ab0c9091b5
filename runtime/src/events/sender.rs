//! The task that sends events.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use prometheus::Registry;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::event::Event;
use super::queue::{EventQueue, EventReceiver};
use super::rate_limit::RateLimit;
use super::repeats::Recount;
use crate::log::ErrorChain;
use crate::write::{Next, WriteError, within};
use crate::{BootTime, Task};

/// Events that are sent per second.
pub const RATE: u32 = 10;
/// Events that are sent at once after a pause.
pub const BURST: u32 = 50;
/// How long the API server may take for one event.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often the sender looks for counts of repeats that are due.
const RECOUNT_INTERVAL: Duration = Duration::from_secs(10);
/// The API server refuses longer messages.
const MAX_NOTE: usize = 1000;

impl EventQueue {
    /// Makes a queue and starts the task that sends its events. The task ends when the returned owner is dropped.
    ///
    /// `component` is the source that events show (`purelb-allocator` or `purelb-lbnodeagent`), and `instance` is the
    /// name of the pod or node.
    ///
    /// # Errors
    /// `purelb_events_total` is registered already.
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
}

struct Sender {
    client: Client,
    component: &'static str,
    instance: String,
    queue: EventQueue,
    limit: RateLimit,
}

impl Sender {
    fn new(client: Client, component: &'static str, instance: &str, queue: EventQueue) -> Self {
        let limit = RateLimit::new(RATE, BURST, BootTime::now());
        Self { client, component, instance: instance.to_owned(), queue, limit }
    }

    /// Sends until it is dropped. The queue never closes, because the sender holds a clone of it.
    async fn run(mut self, mut waiting: EventReceiver) {
        let mut recounts = interval(RECOUNT_INTERVAL);
        recounts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                queued = waiting.recv() => match queued {
                    Some((key, event)) => self.create(key, event).await,
                    None => return,
                },
                _ = recounts.tick() => {
                    for recount in self.queue.with_repeats(|repeats| repeats.due(BootTime::now())) {
                        self.recount(recount).await;
                    }
                }
            }
        }
    }

    async fn permit(&mut self) {
        tokio::time::sleep(self.limit.take(BootTime::now())).await;
    }

    async fn create(&mut self, key: u64, event: Event) {
        self.permit().await;
        let body = core_event(event, self.component, &self.instance, key, Timestamp::now());
        let namespace = body.metadata.namespace.clone().unwrap_or_default();
        let name = body.metadata.name.clone().unwrap_or_default();
        let api: Api<CoreEvent> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PostParams { field_manager: Some(self.component.to_owned()), ..PostParams::default() };
        match within(DEADLINE, api.create(&parameters, &body)).await {
            Ok(_) => {
                self.queue.count("sent");
                self.queue.with_repeats(|repeats| repeats.created(key, namespace, name));
            }
            Err(error) => {
                self.queue.count("failed");
                self.queue.with_repeats(|repeats| repeats.forget(key));
                self.report(&error);
            }
        }
    }

    async fn recount(&mut self, recount: Recount) {
        self.permit().await;
        let api: Api<CoreEvent> = Api::namespaced(self.client.clone(), &recount.namespace);
        let patch = json!({"count": recount.count, "lastTimestamp": Time(Timestamp::now())});
        let parameters = PatchParams { field_manager: Some(self.component.to_owned()), ..PatchParams::default() };
        match within(DEADLINE, api.patch(&recount.name, &parameters, &Patch::Merge(&patch))).await {
            Ok(_) => self.queue.count("sent"),
            Err(error) => {
                self.queue.count("failed");
                // The API server keeps events for an hour. The next repeat then makes a new one.
                if error.next() == Next::Forget {
                    self.queue.with_repeats(|repeats| repeats.forget(recount.key));
                }
                self.report(&error);
            }
        }
    }

    fn report(&self, error: &WriteError) {
        let error = ErrorChain(error);
        if self.queue.counted("failed") == 1 {
            warn!(op = "event", %error, "cannot write an event to the API server: further failures are only counted in purelb_events_total");
        } else {
            debug!(op = "event", %error, "cannot write an event to the API server");
        }
    }
}

fn core_event(event: Event, component: &str, instance: &str, key: u64, now: Timestamp) -> CoreEvent {
    let Event { object, kind, reason, note } = event;
    // Events about objects without a namespace are in the namespace `default`.
    let namespace = object.namespace.clone().unwrap_or_else(|| "default".to_owned());
    // The name is unique: it has the time, and the key in case two events have the same time.
    let unique = format!("{:x}{:04x}", now.as_nanosecond(), key & 0xffff);
    let name = format!("{}.{unique}", cut(object.name.as_deref().unwrap_or_default(), 200));
    CoreEvent {
        metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..ObjectMeta::default() },
        involved_object: object,
        type_: Some(kind.as_str().to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(cut(&note, MAX_NOTE).to_owned()),
        source: Some(EventSource { component: Some(component.to_owned()), host: Some(instance.to_owned()) }),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..CoreEvent::default()
    }
}

/// The text, cut after at most so many bytes between two characters.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::super::event::Kind;
    use super::*;

    #[test]
    fn an_event_as_kubectl_shows_it() {
        let object = ObjectReference {
            kind: Some("Service".to_owned()),
            namespace: Some("shop".to_owned()),
            name: Some("web".to_owned()),
            ..ObjectReference::default()
        };
        let event = Event { object, kind: Kind::Warning, reason: "AllocationFailed", note: "ü".repeat(600) };
        let body = core_event(event, "purelb-allocator", "pod-1", 7, Timestamp::UNIX_EPOCH);
        assert_eq!(body.metadata.namespace.as_deref(), Some("shop"));
        assert!(body.metadata.name.unwrap().starts_with("web."));
        assert_eq!(body.message.unwrap().len(), 1000);
        assert_eq!(body.count, Some(1));
    }
}
