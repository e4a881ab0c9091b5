//! The allocator that leads: its pod and its metrics.

use e2e::{NAMESPACE, eventually, testing::DEADLINE};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::Api;

use crate::support::fixture::Fixture;

impl Fixture<'_> {
    /// The pod that leads.
    pub(crate) async fn leader(&self) -> Pod {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        eventually(DEADLINE, "a pod that leads", async || {
            let lease = leases.get("purelb-allocator").await.map_err(|error| error.to_string())?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
            let name = holder.split('_').next().unwrap_or_default();
            pods.get(name).await.map_err(|error| format!("holder {holder:?}: {error}"))
        })
        .await
        .unwrap()
    }

    /// The value of a series, labels included, in the leader's metrics; 0 when it is not there.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let metrics = self.metrics().await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }

    /// All metrics of the leader.
    pub(crate) async fn metrics(&self) -> String {
        let leader = self.leader().await.metadata.name.unwrap();
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{leader}:7472/proxy/metrics");
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.client.request_text(request).await.unwrap()
    }

    /// Waits until a series has this value.
    pub(crate) async fn metric_is(&self, series: &str, value: f64) {
        eventually(DEADLINE, format!("{series} {value}"), async || {
            let found = self.metric(series).await;
            if (found - value).abs() < 0.5 { Ok(()) } else { Err(found.to_string()) }
        })
        .await
        .unwrap();
    }

    /// Waits until the leader has no gauges of this group any more.
    pub(crate) async fn has_no_gauges(&self, group: &str) {
        let gauges = ["pool_size", "addresses_in_use"].map(|name| format!("{name}{{pool=\"{group}\"}}"));
        eventually(DEADLINE, format!("no gauges of group {group}"), async || {
            let metrics = self.metrics().await;
            let left = metrics.lines().find(|line| gauges.iter().any(|gauge| line.contains(gauge)));
            left.map_or(Ok(()), |line| Err(line.to_owned()))
        })
        .await
        .unwrap();
    }
}
