//! Renews this node's Lease.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api_types::lease::{RouterReport, name};
use api_types::names::reason;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use runtime::events::{Event, EventQueue, Kind as Severity};
use runtime::log::ErrorChain;
use runtime::server::Readiness;
use runtime::webhooks::{self, LEASES};
use runtime::write::{Next, WriteError, within};
use runtime::{BootTime, Task};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::body::body;
use super::content::{Content, FIELD_MANAGER, Identity};
use super::entries::{Entries, first_turn};
use super::health::{self, Health};
use super::schedule::{self, Due, Schedule};
use crate::report::metrics::Metrics;

/// How long one renewal may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Renews the Lease regularly, and at once when its content changes or when `gone` reports that somebody deleted
/// it. While that fails for so long that the others do not know this agent any more, it is not ready. When it goes on
/// failing, an event of the Node says so, and names the webhooks that the API server may be waiting for: often writes of
/// Leases alone are not answered.
pub fn start(
    client: Client,
    identity: Identity,
    content: watch::Receiver<Option<Content>>,
    details: (watch::Receiver<Entries>, watch::Receiver<Vec<RouterReport>>),
    gone: Arc<Notify>,
    outside: Outside,
) -> Task {
    let turn = first_turn(&identity.node);
    let renewer = Renewer { api: Api::namespaced(client.clone(), &identity.namespace), client, identity, outside };
    let (entries, routers) = details;
    Task::spawn(renewer.run(Schedule::new(content, entries, routers, turn, gone)))
}

/// Where it is reported how renewals go.
pub struct Outside {
    /// The metrics of the agent.
    pub metrics: Metrics,
    /// Whether the agent is ready.
    pub readiness: Readiness,
    /// Kubernetes events.
    pub events: EventQueue,
}

struct Renewer {
    client: Client,
    api: Api<Lease>,
    identity: Identity,
    outside: Outside,
}

impl Renewer {
    async fn run(self, mut schedule: Schedule) {
        let Outside { metrics, readiness, .. } = &self.outside;
        let mut health = Health::new(BootTime::now());
        let (mut webhooks, mut node_uid) = (None, String::new());
        loop {
            let next = {
                let mut next = pin!(schedule.next());
                loop {
                    tokio::select! {
                        next = &mut next => break next,
                        sentence = found(&mut webhooks) => {
                            webhooks = None;
                            let told = sentence.and_then(|text| health.webhooks_found(BootTime::now(), text));
                            if let Some(text) = told {
                                tracing::warn!(op = "lease", "{text}");
                                self.tell(&node_uid, &text);
                            }
                        }
                    }
                }
            };
            let Some(due) = next else { return };
            let every = due.content.every;
            node_uid.clone_from(&due.content.node_uid);
            let sent = BootTime::now();
            let result = metrics.writes.count("lease", self.renew(&due).await);
            if let Err(error) = &result {
                metrics.renewal_failures.inc();
                let consequences = health.failed(BootTime::now(), error, &ErrorChain(error).to_string());
                if let Some(text) = consequences.log {
                    tracing::warn!(op = "lease", "{text}");
                }
                if let Some(text) = consequences.unready {
                    readiness.unready(text);
                }
                match consequences.report {
                    Some(health::Report::Tell(text)) => self.tell(&node_uid, &text),
                    Some(health::Report::ReadWebhooks) => {
                        webhooks = Some(Task::spawn(webhooks::describe(self.client.clone(), LEASES)));
                    }
                    None => {}
                }
            } else {
                metrics.renewals.inc();
                metrics.renewed.set(Timestamp::now().as_second());
                if health.succeeded(sent, schedule::duration(every)) {
                    tracing::info!(op = "lease", "the Lease is renewed again");
                    readiness.ready();
                }
            }
            metrics.client.lease_healthy.set(i64::from(health.is_valid(BootTime::now())));
            schedule.written(result.is_ok(), every);
        }
    }

    /// A Kubernetes event of this Node.
    fn tell(&self, node_uid: &str, text: &str) {
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.identity.node.clone()),
            uid: Some(node_uid.to_owned()),
            ..ObjectReference::default()
        };
        let note = format!("node {}: {text}", self.identity.node);
        self.outside.events.publish(Event { object, kind: Severity::Warning, reason: reason::LEASE_NOT_RENEWED, note });
    }

    async fn renew(&self, due: &Due) -> Result<(), WriteError> {
        let mut body = body(&self.identity, due, Timestamp::now());
        let name = name(&self.identity.node);
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match within(DEADLINE, self.api.patch(&name, &parameters, &Patch::Merge(&body))).await {
            // The Lease does not exist yet, or somebody deleted it.
            Err(error) if error.next() == Next::Forget => {
                // A null removes an annotation from an object that exists.
                if let Some(Value::Object(annotations)) = body.pointer_mut("/metadata/annotations") {
                    annotations.retain(|_, value| !value.is_null());
                }
                let lease = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
                let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                within(DEADLINE, self.api.create(&parameters, &lease)).await.map(|_| ())
            }
            result => result.map(|_| ()),
        }
    }
}

/// Waits until the webhooks have been read; forever, if nobody reads them.
async fn found(reading: &mut Option<Task<(webhooks::Target, String)>>) -> Option<String> {
    let Some(reading) = reading else { return std::future::pending().await };
    reading.join().await.ok().map(|(_, sentence)| sentence)
}
