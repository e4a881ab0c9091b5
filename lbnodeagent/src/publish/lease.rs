//! Our own Lease: that we are here, and in which subnets (specification, api.md 9).

use std::time::Duration;

use api_types::lease::{INSTANCE, SUBNETS, name, subnets_value};
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use runtime::backoff::Backoff;
use runtime::log::ErrorChain;
use runtime::write::{Next, WriteError, within};
use runtime::{BootTime, Task};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::members::LIVE;
use crate::metrics::Metrics;
use crate::watches::Inputs;
use crate::world::Input;

/// The name under which we write.
pub const FIELD_MANAGER: &str = "purelb-lbnodeagent";

/// How often the Lease is renewed.
pub const INTERVAL: Duration = Duration::from_secs(3);

/// How long one renewal may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// What the Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// UID of the Node, the owner of the Lease.
    pub node_uid: String,
    /// The subnets on which this node can answer.
    pub subnets: Vec<IpNetwork>,
}

/// Who writes the Lease, and where.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The install namespace.
    pub namespace: String,
    /// The node.
    pub node: String,
    /// UID of the pod.
    pub pod_uid: String,
}

/// Renews the Lease every [`INTERVAL`], and at once when its content changes; tells the agent of
/// each success.
pub fn start(
    client: Client,
    identity: Identity,
    content: watch::Receiver<Option<Content>>,
    inputs: Inputs,
    metrics: Metrics,
) -> Task {
    Task::spawn(async move {
        let renewer = Renewer { api: Api::namespaced(client, &identity.namespace), identity };
        renewer.run(content, inputs, metrics).await;
    })
}

struct Renewer {
    api: Api<Lease>,
    identity: Identity,
}

impl Renewer {
    async fn run(self, mut content: watch::Receiver<Option<Content>>, inputs: Inputs, metrics: Metrics) {
        let mut backoff = Backoff::new(Duration::from_millis(300), INTERVAL);
        loop {
            let Some(current) = content.borrow_and_update().clone() else {
                if content.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let sent = BootTime::now();
            let pause = match metrics.writes.count("lease", self.renew(&current).await) {
                Ok(()) => {
                    metrics.renewals.inc();
                    backoff.reset();
                    if inputs.send(Input::Renewed(sent)).await.is_err() {
                        return;
                    }
                    INTERVAL
                }
                Err(error) => {
                    metrics.renewal_failures.inc();
                    if backoff.failures() == 0 {
                        tracing::warn!(op = "lease", error = %ErrorChain(&error), "cannot renew the Lease, trying again");
                    }
                    backoff.next_delay()
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = content.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn renew(&self, content: &Content) -> Result<(), WriteError> {
        let body = body(&self.identity, content, Timestamp::now());
        let name = name(&self.identity.node);
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match within(DEADLINE, self.api.patch(&name, &parameters, &Patch::Merge(&body))).await {
            // Not there yet, or deleted by somebody: it comes back.
            Err(error) if error.next() == Next::Forget => {
                let lease = serde_json::from_value(body).map_err(kube::Error::SerdeError)?;
                let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                within(DEADLINE, self.api.create(&parameters, &lease)).await.map(|_| ())
            }
            result => result.map(|_| ()),
        }
    }
}

/// The whole Lease each time, so that whatever somebody changed is right again.
fn body(identity: &Identity, content: &Content, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name(&identity.node),
            "namespace": identity.namespace,
            "labels": {"app.kubernetes.io/name": "purelb", "app.kubernetes.io/component": "lbnodeagent"},
            "annotations": {SUBNETS: subnets_value(&content.subnets), INSTANCE: identity.pod_uid},
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Node", "name": identity.node, "uid": content.node_uid,
                "controller": false, "blockOwnerDeletion": false
            }],
        },
        "spec": {
            "holderIdentity": identity.node,
            "leaseDurationSeconds": LIVE.as_secs(),
            "renewTime": MicroTime(now),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::LeaseView;

    #[test]
    fn the_lease_is_the_contracts() {
        let identity = Identity { namespace: "purelb".to_owned(), node: "n1".to_owned(), pod_uid: "pod".to_owned() };
        let content = Content { node_uid: "node".to_owned(), subnets: vec!["192.0.2.0/24".parse().unwrap()] };
        let body = body(&identity, &content, Timestamp::from_microsecond(1_000_001).unwrap());
        assert_eq!(body["spec"]["renewTime"], "1970-01-01T00:00:01.000001Z");
        let lease: Lease = serde_json::from_value(body).unwrap();
        assert_eq!(lease.metadata.name.as_deref(), Some("purelb-node-n1"));
        let view = LeaseView::new(&lease).unwrap();
        assert_eq!((view.node.as_str(), view.duration), ("n1", LIVE));
        assert_eq!(view.subnets, content.subnets);
    }
}
