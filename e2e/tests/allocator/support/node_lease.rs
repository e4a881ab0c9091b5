//! The Lease of a node that does not exist.

use e2e::{NAMESPACE, testing::Undo};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::support::fixture::Fixture;

impl<'a> Fixture<'a> {
    /// An agent's Lease for a node that is not there, valid for an hour.
    pub(crate) async fn fake_node_lease(&self, name: &str, subnets: &str) -> Undo<'a> {
        let name = format!("purelb-node-{name}");
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let lease = json!({
            "metadata": {"name": name, "annotations": {"purelb.io/subnets": subnets}},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 3600, "renewTime": with_microseconds(&now)},
        });
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        leases.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
        let cluster = self.cluster;
        Undo::new(move || {
            cluster.kubectl(&["delete", "lease", "--ignore-not-found", "--namespace", NAMESPACE, &name]).map(drop)
        })
    }
}

/// The API takes six digits, no more.
fn with_microseconds(time: &str) -> String {
    let (seconds, fraction) = time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), "0"));
    format!("{seconds}.{fraction:0<6.6}Z")
}
