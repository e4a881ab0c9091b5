//! Our own Lease: that we are here, where, and in which subnets (specification, api.md 9).
//!
//! | Part | Does |
//! |---|---|
//! | [`body`] | the Lease as it is written |
//! | [`rhythm`] | when it is written |
//! | this module | writes it |

mod body;
mod rhythm;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api_types::lease::name;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use runtime::log::ErrorChain;
use runtime::write::{Next, WriteError, within};
use runtime::{BootTime, Task};
use tokio::sync::{Notify, watch};

use self::body::body;
use self::rhythm::Rhythm;
use crate::metrics::Metrics;

/// The name under which we write.
pub const FIELD_MANAGER: &str = "purelb-lbnodeagent";

/// How long one renewal may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// What the Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// UID of the Node, the owner of the Lease.
    pub node_uid: String,
    /// The subnets on which this node can answer.
    pub subnets: Vec<IpNetwork>,
    /// The node's own addresses on its local interfaces, each with the length of its prefix.
    pub addresses: Vec<IpNetwork>,
    /// The hardware addresses of all its interfaces.
    pub macs: Vec<[u8; 6]>,
    /// Where we listen for gossip, the best first.
    pub endpoints: Vec<SocketAddr>,
    /// Gossip is silent, so that Leases have to tell who lives: they are renewed often and are short.
    pub hurry: bool,
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

/// Renews the Lease in its rhythm, and at once when its content changes or `gone` says that somebody deleted it.
pub fn start(
    client: Client,
    identity: Identity,
    content: watch::Receiver<Option<Content>>,
    gone: Arc<Notify>,
    metrics: Metrics,
) -> Task {
    let renewer = Renewer { api: Api::namespaced(client, &identity.namespace), identity };
    Task::spawn(renewer.run(Rhythm::new(content, gone), metrics))
}

struct Renewer {
    api: Api<Lease>,
    identity: Identity,
}

impl Renewer {
    async fn run(self, mut rhythm: Rhythm, metrics: Metrics) {
        // Until when the Lease is valid.
        let mut valid = BootTime::now();
        while let Some(content) = rhythm.next().await {
            let sent = BootTime::now();
            let result = metrics.writes.count("lease", self.renew(&content).await);
            if let Err(error) = &result {
                metrics.renewal_failures.inc();
                if rhythm.failures() == 0 {
                    tracing::warn!(op = "lease", error = %ErrorChain(error), "cannot renew the Lease, trying again");
                }
            } else {
                metrics.renewals.inc();
                valid = sent + rhythm::duration(content.hurry);
            }
            metrics.client.lease_healthy.set(i64::from(BootTime::now() < valid));
            rhythm.written(result.is_ok(), content.hurry);
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
