//! Allocators outside the cluster, where a test can pause them and block their connection to the API server without
//! the kubelet's help.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use e2e::{
    ApiProxy, Cluster, HeldRequest, NAMESPACE, eventually,
    testing::{DEADLINE, Replica},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::support::fixture::{Fixture, group};

/// Takes the pods of the allocator away for a test that brings its own, and gives them back.
pub(crate) struct WithoutAllocator<'a>(&'a Cluster);

impl<'a> WithoutAllocator<'a> {
    pub(crate) async fn new(cluster: &'a Cluster) -> Self {
        let without = Self(cluster);
        without.scale(0).unwrap();
        let pods: Api<Pod> = Api::namespaced(cluster.kube().await.unwrap(), NAMESPACE);
        eventually(DEADLINE, "no pods of the allocator", async || {
            let selector = ListParams::default().labels("component=allocator");
            let left = pods.list(&selector).await.map_err(|error| error.to_string())?.items.len();
            if left == 0 { Ok(()) } else { Err(format!("{left} pods")) }
        })
        .await
        .unwrap();
        without
    }

    fn scale(&self, replicas: u8) -> e2e::Result<String> {
        let replicas = format!("--replicas={replicas}");
        self.0.kubectl(&["scale", "--namespace", NAMESPACE, &replicas, "deployment/allocator"])
    }
}

impl Drop for WithoutAllocator<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.scale(2) {
            eprintln!("clean-up: {error}");
        }
    }
}

/// The kubeconfig of the cluster itself, for an allocator whose connection is not to be disturbed.
pub(crate) fn cluster_kubeconfig(cluster: &Cluster) -> PathBuf {
    cluster.kubeconfig()
}

/// The leader, and the replica that takes over from it.
pub(crate) struct Pair {
    pub(crate) first: Replica,
    pub(crate) second: Replica,
}

impl Pair {
    /// Starts both, and returns when the first one leads.
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        Self::with_first_by(cluster, &cluster_kubeconfig(cluster)).await
    }

    /// The same with a proxy between the first one and the API server.
    pub(crate) async fn with_proxy(cluster: &Cluster, name: &str) -> (Self, ApiProxy) {
        let proxy = ApiProxy::start(cluster, name).await.unwrap();
        (Self::with_first_by(cluster, proxy.kubeconfig()).await, proxy)
    }

    async fn with_first_by(cluster: &Cluster, kubeconfig: &Path) -> Self {
        let first = Replica::start(cluster, "first", kubeconfig).unwrap();
        first.leading(DEADLINE).await.unwrap();
        let second = Replica::start(cluster, "second", &cluster_kubeconfig(cluster)).unwrap();
        Self { first, second }
    }
}

/// Creates a Service, and returns how long it took from `since` until it had an address.
pub(crate) async fn served(fixture: &Fixture<'_>, name: &str, of: &str, since: Instant) -> Duration {
    fixture.create(name, &[group(of)], json!({})).await;
    fixture.cluster.service_addresses(&fixture.namespace, name, 1).await.unwrap();
    since.elapsed()
}

/// Releases a write of a leader that has a successor: the API server must refuse it.
pub(crate) async fn release_too_late(held: HeldRequest) {
    assert_eq!(held.release().await.unwrap(), 409, "the late write was not refused");
}
