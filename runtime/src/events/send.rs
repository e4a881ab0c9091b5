//! The task that sends events.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event as CoreEvent, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::limit::Limit;
use super::repeats::Recount;
use super::{BURST, Event, EventQueue, RATE, Waiting};
use crate::BootTime;
use crate::log::ErrorChain;
use crate::write::{Next, WriteError, within};

/// How long the API server may take for one event.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often counts of repeats are looked through.
const LOOK: Duration = Duration::from_secs(10);
/// The API server refuses longer notes.
const MAX_NOTE: usize = 1000;

pub(super) struct Sender {
    client: Client,
    component: &'static str,
    instance: String,
    queue: EventQueue,
    limit: Limit,
}

impl Sender {
    pub(super) fn new(client: Client, component: &'static str, instance: &str, queue: EventQueue) -> Self {
        let limit = Limit::new(RATE, BURST, BootTime::now());
        Self { client, component, instance: instance.to_owned(), queue, limit }
    }

    /// Sends until it is dropped; the queue never closes because the sender holds an end of it.
    pub(super) async fn run(mut self, mut waiting: Waiting) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                queued = waiting.recv() => match queued {
                    Some((key, event)) => self.create(key, event).await,
                    None => return,
                },
                _ = look.tick() => {
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
                // The API server keeps events for an hour: say it anew.
                if error.next() == Next::Forget {
                    self.queue.with_repeats(|repeats| repeats.forget(recount.key));
                }
                self.report(&error);
            }
        }
    }

    fn report(&self, error: &WriteError) {
        let error = ErrorChain(error);
        if self.queue.outcomes.with_label_values(&["failed"]).get() == 1 {
            warn!(op = "event", %error, "cannot write an event; further failures are only counted");
        } else {
            debug!(op = "event", %error, "cannot write an event");
        }
    }
}

fn core_event(event: Event, component: &str, instance: &str, key: u64, now: Timestamp) -> CoreEvent {
    let Event { object, kind, reason, note } = event;
    // Events about objects without a namespace live in `default`.
    let namespace = object.namespace.clone().unwrap_or_else(|| "default".to_owned());
    // Unlike any other event: the time, and the key for two in one nanosecond.
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

/// The text up to so many bytes, at a border of characters.
fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;
    use crate::events::Kind;

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
