//! Renews this node's Lease.

use std::sync::Arc;
use std::time::Duration;

use api_types::lease::name;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use runtime::log::ErrorChain;
use runtime::write::{Next, WriteError, within};
use runtime::{BootTime, Task};
use tokio::sync::{Notify, watch};

use super::body::body;
use super::content::{Content, FIELD_MANAGER, Identity};
use super::schedule::{self, Schedule};
use crate::report::metrics::Metrics;

/// How long one renewal may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Renews the Lease regularly, and at once when its content changes or when `gone` reports that somebody deleted
/// it.
pub fn start(
    client: Client,
    identity: Identity,
    content: watch::Receiver<Option<Content>>,
    gone: Arc<Notify>,
    metrics: Metrics,
) -> Task {
    let renewer = Renewer { api: Api::namespaced(client, &identity.namespace), identity };
    Task::spawn(renewer.run(Schedule::new(content, gone), metrics))
}

struct Renewer {
    api: Api<Lease>,
    identity: Identity,
}

impl Renewer {
    async fn run(self, mut schedule: Schedule, metrics: Metrics) {
        // Until when the Lease is valid.
        let mut valid = BootTime::now();
        while let Some(content) = schedule.next().await {
            let sent = BootTime::now();
            let result = metrics.writes.count("lease", self.renew(&content).await);
            if let Err(error) = &result {
                metrics.renewal_failures.inc();
                if schedule.failures() == 0 {
                    tracing::warn!(op = "lease", error = %ErrorChain(error), "cannot renew the Lease, trying again");
                }
            } else {
                metrics.renewals.inc();
                valid = sent + schedule::duration(content.gossip_silent);
            }
            metrics.client.lease_healthy.set(i64::from(BootTime::now() < valid));
            schedule.written(result.is_ok(), content.gossip_silent);
        }
    }

    async fn renew(&self, content: &Content) -> Result<(), WriteError> {
        let body = body(&self.identity, content, Timestamp::now());
        let name = name(&self.identity.node);
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match within(DEADLINE, self.api.patch(&name, &parameters, &Patch::Merge(&body))).await {
            // The Lease does not exist yet, or somebody deleted it.
            Err(error) if error.next() == Next::Forget => {
                let lease = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
                let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                within(DEADLINE, self.api.create(&parameters, &lease)).await.map(|_| ())
            }
            result => result.map(|_| ()),
        }
    }
}
