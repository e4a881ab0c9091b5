//! A rolling update of a Deployment of two under `externalTrafficPolicy: Local`, with connections through the router and
//! to a local address.
//!
//! `PURELB_ROLLOUTS=5` repeats it more often.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use e2e::{
    Cluster, eventually,
    testing::{Applied, DEADLINE, installed},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

/// How often it is repeated, unless the environment says otherwise.
const USUALLY: usize = 2;

/// How long a pod serves on after it was asked to end.
const FAREWELL: u32 = 5;

/// Until kube-proxy and the router know that a server has closed, and what a busy machine adds.
const AT_MOST: Duration = Duration::from_millis(1500);

/// A Deployment of the echo server, whose pods serve on for this long once they were asked to end.
fn deployment(farewell: u32) -> String {
    let prestop = format!("lifecycle: {{preStop: {{sleep: {{seconds: {farewell}}}}}}}");
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: rolling, namespace: default}}
spec:
  replicas: 2
  strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  selector: {{matchLabels: {{app: rolling}}}}
  template:
    metadata: {{labels: {{app: rolling}}}}
    spec:
      terminationGracePeriodSeconds: {grace}
      topologySpreadConstraints:
      - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {{matchLabels: {{app: rolling}}}}}}
      containers:
      - name: echo
        image: localhost/echo:1
        imagePullPolicy: IfNotPresent
        readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
        {lifecycle}
",
        grace = farewell + 2,
        lifecycle = if farewell == 0 { "" } else { &prestop },
    )
}

/// A Service of it from this group.
fn service(name: &str, group: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default, annotations: {{purelb.io/service-group: {group}}}}}
spec: {{type: LoadBalancer, externalTrafficPolicy: Local, selector: {{app: rolling}}, ports: [{{port: 80, targetPort: 8080}}]}}
"
    )
}

/// Waits until the two pods of the newest rollout are all there are.
async fn rolled_out(cluster: &Cluster) {
    cluster.kubectl(&["rollout", "status", "--namespace", "default", "--timeout=60s", "deployment/rolling"]).unwrap();
    let pods: Api<Pod> = Api::namespaced(cluster.kube().await.unwrap(), "default");
    eventually(DEADLINE, "two pods", async || {
        let found = pods.list(&ListParams::default().labels("app=rolling")).await.map_err(|error| error.to_string())?;
        if found.items.len() == 2 { Ok(()) } else { Err(format!("{} pods", found.items.len())) }
    })
    .await
    .unwrap();
}

/// Waits until many connections in a row succeed.
async fn answers(cluster: &Cluster, address: IpAddr) {
    eventually(DEADLINE, format!("answers of {address}"), async || {
        let get = |_| cluster.client().http_get(address, 80).map_err(|error| error.to_string()).map(drop);
        (0..30).try_for_each(get)
    })
    .await
    .unwrap();
}

/// Rolls out again and again; the longest times in which connections through the router and to the local address failed.
async fn roll(cluster: &Cluster, farewell: u32) -> [Duration; 2] {
    let rollouts = std::env::var("PURELB_ROLLOUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(USUALLY);
    let _seed = Applied::kustomization(cluster, "manifests/samples/calico");
    let _groups = Applied::kustomization(cluster, "manifests/samples/local");
    let services = [service("rolling-routed", "ipv4-routed"), service("rolling-local", "default")];
    let _objects = Applied::yaml(cluster, &[&services[..], &[deployment(farewell)]].concat().join("---"));
    rolled_out(cluster).await;
    let mut connectors = Vec::new();
    for name in ["rolling-routed", "rolling-local"] {
        let address = cluster.service_addresses("default", name, 1).await.unwrap()[0];
        answers(cluster, address).await;
        connectors.push(cluster.client().connect_continuously(SocketAddr::new(address, 80)));
    }
    for _ in 0..rollouts {
        cluster.kubectl(&["rollout", "restart", "--namespace", "default", "deployment/rolling"]).unwrap();
        rolled_out(cluster).await;
    }
    let longest = connectors.into_iter().map(|connector| {
        let connections = connector.stop().unwrap();
        let longest = connections.longest_failure();
        println!(
            "{rollouts} rollouts, {farewell} s farewell: {} connections, {} failed, for {longest:?} at most",
            connections.count(),
            connections.failures().len()
        );
        longest
    });
    longest.collect::<Vec<_>>().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_85_a_rolling_update_of_servers_that_serve_on_fails_no_connection_for_long() {
    let cluster = installed().await;
    let longest = roll(&cluster, FAREWELL).await;
    assert!(longest.iter().all(|longest| *longest < AT_MOST), "through the router and locally: {longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_85_after_a_rolling_update_of_servers_that_close_at_once_connections_succeed_again() {
    let cluster = installed().await;
    // What that costs is printed: until the endpoint is known to be gone, its node is the wrong one.
    let longest = roll(&cluster, 0).await;
    assert!(longest.iter().all(|longest| *longest < DEADLINE), "through the router and locally: {longest:?}");
}
