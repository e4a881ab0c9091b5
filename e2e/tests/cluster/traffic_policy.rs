//! `externalTrafficPolicy: Local`: a remote address is where the endpoints are, as long as they serve.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use e2e::{
    Cluster, Family, Node, eventually,
    testing::{Applied, DEADLINE, endpoint_slice, installed, wait_for_address, wait_for_next_hops},
};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a pod serves on after it was deleted: longer than everything that is waited for meanwhile should take.
const FAREWELL: Duration = Duration::from_secs(10);

/// Endpoints of the Service `policy` on these nodes.
fn endpoints(nodes: &[&Node]) -> String {
    let nodes: Vec<Option<&Node>> = nodes.iter().copied().map(Some).collect();
    endpoint_slice("policy", Family::V4, &nodes).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_policy_local_only_nodes_with_endpoints_are_routed_to() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let nodes: Vec<Node> = cluster.nodes().collect();
    let [first, second, ..] = nodes.as_slice() else { panic!("three nodes") };
    let _service = Applied::yaml(
        &cluster,
        "{apiVersion: v1, kind: Service, metadata: {name: policy, namespace: default, annotations: {purelb.io/service-group: ipv4-routed}}, \
         spec: {type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]}}",
    );
    let address = cluster.service_addresses("default", "policy", 1).await.unwrap()[0];
    let _endpoints = Applied::yaml(&cluster, &endpoints(&[first]));
    for with in [&[first][..], &[first, second], &[second], &[]] {
        cluster.apply(&endpoints(with)).unwrap();
        wait_for_next_hops(&cluster, address, with.iter().copied()).await;
    }
}

/// A pod on each node, which no controller replaces, and a Service of them. The first takes some time to end.
fn pods(cluster: &Cluster) -> String {
    let pod = |(place, node): (usize, Node)| {
        let farewell = if place == 0 { FAREWELL.as_secs() } else { 0 };
        format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: farewell-{node}, namespace: default, labels: {{app: farewell}}}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: {grace}
  containers:
  - name: echo
    image: localhost/echo:1
    imagePullPolicy: IfNotPresent
    readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
    lifecycle: {{preStop: {{sleep: {{seconds: {farewell}}}}}}}
---",
            node = node.name(),
            grace = farewell + 1,
        )
    };
    let service = "
apiVersion: v1
kind: Service
metadata: {name: farewell, namespace: default, annotations: {purelb.io/service-group: ipv4-routed}}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, selector: {app: farewell}, ports: [{port: 80, targetPort: 8080}]}
";
    cluster.nodes().enumerate().map(pod).chain([service.to_owned()]).collect()
}

/// Waits until many connections in a row succeed: kube-proxy of every node knows the endpoints then.
async fn answers_steadily(cluster: &Cluster, address: IpAddr) {
    eventually(DEADLINE, format!("answers of {address}"), async || {
        let get = |_| cluster.client().http_get(address, 80).map_err(|error| error.to_string()).map(drop);
        (0..60).try_for_each(get)
    })
    .await
    .unwrap();
}

/// When no endpoint of a Service on this node is ready any more, by its `EndpointSlice`s; `watching` is sent when one
/// is known to be ready.
async fn unready(cluster: &Cluster, service: &str, node: &str, watching: oneshot::Sender<()>) -> Instant {
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.kube().await.unwrap(), "default");
    let mine = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
    let ready = |slice: &EndpointSlice| {
        slice.endpoints.iter().any(|endpoint| {
            endpoint.node_name.as_deref() == Some(node)
                && endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true)
        })
    };
    let mut changes = watcher(slices, mine).applied_objects().boxed();
    let mut watching = Some(watching);
    while let Some(slice) = changes.try_next().await.unwrap() {
        if ready(&slice) {
            watching.take().map(|watching| watching.send(()));
        } else if watching.is_none() {
            return Instant::now();
        }
    }
    panic!("the watch has ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_85_under_the_policy_local_a_remote_address_stays_while_an_ending_pod_serves() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let _objects = Applied::yaml(&cluster, &pods(&cluster));
    let address: IpAddr = cluster.service_addresses("default", "farewell", 1).await.unwrap()[0];
    let nodes: Vec<Node> = cluster.nodes().collect();
    let [leaving, others @ ..] = nodes.as_slice() else { panic!("three nodes") };
    wait_for_next_hops(&cluster, address, &nodes).await;
    let server = SocketAddr::new(address, 80);
    answers_steadily(&cluster, address).await;

    let client = cluster.client().connect_continuously(server);
    let log = leaving.log_addresses().unwrap();
    let (name, pod) = (leaving.name(), format!("farewell-{}", leaving.name()));
    let (watching, watched) = oneshot::channel();
    let ending = tokio::spawn({
        let cluster = Cluster::attach(cluster.layout().name()).unwrap();
        async move { unready(&cluster, "farewell", &name, watching).await }
    });
    timeout(DEADLINE, watched).await.expect("no ready endpoint").unwrap();
    let asked = Instant::now();
    cluster.kubectl(&["delete", "pod", &pod, "--namespace", "default", "--wait=false"]).unwrap();
    timeout(DEADLINE, ending).await.expect("the endpoint stays ready").unwrap();
    // Connections live as long as their pod.
    tokio::time::sleep(FAREWELL / 3).await;
    assert_eq!(log.about(&[address]).iter().filter(|change| change.is_removal()).count(), 0, "it left before its pod");
    let phase =
        cluster.kubectl(&["get", "pod", &pod, "--namespace", "default", "-o", "jsonpath={.status.phase}"]).unwrap();
    assert_eq!(phase, "Running");
    wait_for_address(&nodes[..1], "kube-lb0", address, false).await;
    wait_for_next_hops(&cluster, address, others).await;

    // Until the pod is gone, and then some.
    eventually(DEADLINE, "no pod", async || {
        let found = cluster.kubectl(&["get", "pod", &pod, "--namespace", "default", "--ignore-not-found"]);
        let found = found.map_err(|error| error.to_string())?;
        if found.is_empty() { Ok(()) } else { Err(found) }
    })
    .await
    .unwrap();
    let connections = client.stop().unwrap();
    let failures: Vec<_> = connections.failures().iter().map(|at| at.duration_since(asked)).collect();
    println!("{} connections, {} failed", connections.count(), failures.len());
    // The server closes at once; until kube-proxy and the router know it, connections to it fail.
    assert!(
        connections.longest_failure() < Duration::from_secs(2),
        "failed after the deletion was asked for: {failures:?}"
    );
}
