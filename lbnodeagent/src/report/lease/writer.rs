//! Renews this node's Lease.

use std::sync::Arc;
use std::time::Duration;

use api_types::lease::{RouterReport, name};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use runtime::log::ErrorChain;
use runtime::server::Readiness;
use runtime::write::{Next, WriteError, within};
use runtime::{BootTime, Task};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::body::body;
use super::content::{Content, FIELD_MANAGER, Identity};
use super::entries::{Entries, first_turn};
use super::health::Health;
use super::schedule::{self, Due, Schedule};
use crate::report::metrics::Metrics;

/// How long one renewal may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Renews the Lease regularly, and at once when its content changes or when `gone` reports that somebody deleted
/// it. While that fails for so long that the others do not know this agent any more, it is not ready.
pub fn start(
    client: Client,
    identity: Identity,
    content: watch::Receiver<Option<Content>>,
    details: (watch::Receiver<Entries>, watch::Receiver<Vec<RouterReport>>),
    gone: Arc<Notify>,
    outside: (Metrics, Readiness),
) -> Task {
    let turn = first_turn(&identity.node);
    let renewer = Renewer { api: Api::namespaced(client, &identity.namespace), identity };
    let (entries, routers) = details;
    Task::spawn(renewer.run(Schedule::new(content, entries, routers, turn, gone), outside))
}

struct Renewer {
    api: Api<Lease>,
    identity: Identity,
}

impl Renewer {
    async fn run(self, mut schedule: Schedule, (metrics, readiness): (Metrics, Readiness)) {
        let mut health = Health::new(BootTime::now());
        while let Some(due) = schedule.next().await {
            let gossip_silent = due.content.gossip_silent;
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
            } else {
                metrics.renewals.inc();
                metrics.renewed.set(Timestamp::now().as_second());
                if health.succeeded(sent, schedule::duration(gossip_silent)) {
                    tracing::info!(op = "lease", "the Lease is renewed again");
                    readiness.ready();
                }
            }
            metrics.client.lease_healthy.set(i64::from(health.is_valid(BootTime::now())));
            schedule.written(result.is_ok(), gossip_silent);
        }
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
