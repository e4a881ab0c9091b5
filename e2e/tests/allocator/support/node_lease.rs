//! The Lease of a node that does not exist.

use e2e::{Cluster, NAMESPACE};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::support::fixture::Fixture;

impl<'a> Fixture<'a> {
    /// An agent's Lease for a node that is not there, valid for an hour.
    pub(crate) async fn fake_node_lease(&self, name: &str, subnets: &str) -> FakeLease<'a> {
        let name = format!("purelb-node-{name}");
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let lease = json!({
            "metadata": {"name": name, "annotations": {"purelb.io/subnets": subnets}},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 3600, "renewTime": with_microseconds(&now)},
        });
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        leases.create(&PostParams::default(), &serde_json::from_value(lease).unwrap()).await.unwrap();
        FakeLease { cluster: self.cluster, name }
    }
}

/// The API takes six digits, no more.
fn with_microseconds(time: &str) -> String {
    let (seconds, fraction) = time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), "0"));
    format!("{seconds}.{fraction:0<6.6}Z")
}

/// A Lease that goes when this does.
pub(crate) struct FakeLease<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Drop for FakeLease<'_> {
    fn drop(&mut self) {
        let lease = ["delete", "lease", "--ignore-not-found", "--namespace", NAMESPACE, &self.name];
        if let Err(error) = self.cluster.kubectl(&lease) {
            eprintln!("clean-up: {error}");
        }
    }
}
