//! Installing, uninstalling, and what an installation shows.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use e2e::{
    Cluster, InterfaceAddress, NAMESPACE, Node, eventually,
    testing::{Applied, BareService, DEADLINE, ROUTED_GROUPS, installed, object, wait_for_next_hops},
};
use serde_json::Value;

/// The shortest time for which addresses outlive an agent.
const GRACE: Duration = Duration::from_secs(60);

/// An installation whose addresses outlive the agents for a short time only. If it is not uninstalled, the next one has
/// the usual time again.
struct Short<'a>(&'a Cluster);

impl<'a> Short<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let short = Self(cluster);
        short.set(&format!("PURELB_STOP_GRACE={}s", GRACE.as_secs())).unwrap();
        cluster.installation_ready().unwrap();
        short
    }

    fn set(&self, variable: &str) -> e2e::Result<String> {
        self.0.kubectl(&["set", "env", "daemonset/lbnodeagent", "--namespace", NAMESPACE, variable])
    }
}

impl Drop for Short<'_> {
    fn drop(&mut self) {
        // After the uninstallation there is nothing to be set.
        let _ = self.set("PURELB_STOP_GRACE-");
    }
}

/// Which of these addresses are on any interface of the nodes, and for how long.
fn left(cluster: &Cluster, addresses: &[IpAddr]) -> Vec<(String, InterfaceAddress)> {
    let on = |node: Node| -> Vec<_> {
        let found = ["eth0", "kube-lb0"].into_iter().flat_map(|interface| node.addresses(interface).unwrap());
        found.filter(|found| addresses.contains(&found.address)).map(|found| (node.name(), found)).collect()
    };
    cluster.nodes().flat_map(on).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_uninstalled_goes_by_itself_and_one_command_installs_again_and_may_be_repeated() {
    let cluster = installed().await;
    let short = Short::new(&cluster);
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let _local = Applied::kustomization(&cluster, "manifests/samples/local");
    let remote = BareService::new(&cluster, "uninstalled-remote", ROUTED_GROUPS).await;
    let local = BareService::new(&cluster, "uninstalled-local", "default").await;
    let addresses = [&remote.addresses[..], &local.addresses].concat();
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }
    eventually(DEADLINE, "all addresses", async || match left(&cluster, &addresses).len() {
        8 => Ok(()),
        other => Err(other),
    })
    .await
    .unwrap();

    let directory = e2e::checkout("manifests").to_string_lossy().into_owned();
    cluster.kubectl(&["delete", "-k", &directory, "--ignore-not-found", "--timeout=90s"]).unwrap();
    let (begin, there) = (Instant::now(), left(&cluster, &addresses));
    let ends = |found: &InterfaceAddress| found.valid_for.is_some_and(|left| left <= GRACE);
    assert!(there.len() == 8 && there.iter().all(|(_, found)| ends(found)), "{there:?}");
    eventually(GRACE + DEADLINE, "no address of ours", async || {
        let left = left(&cluster, &addresses);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await
    .unwrap();
    println!("all addresses had gone {:?} after the uninstallation", begin.elapsed());
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, None::<Node>).await;
    }
    for address in &local.addresses {
        assert_eq!(cluster.client().arp(*address).unwrap(), None);
    }
    // Nobody of us runs any more, and what is left of us on the nodes is an interface without addresses.
    for node in cluster.nodes() {
        let dummy = node.addresses("kube-lb0").unwrap();
        assert!(dummy.iter().all(|found| found.scope != "global"), "{}: {dummy:?}", node.name());
        let ours = ["allocator", "lbnodeagent"].map(|program| node.processes(program).unwrap());
        assert!(ours.iter().all(Vec::is_empty), "{}: {ours:?}", node.name());
    }
    drop((remote, local, short));

    cluster.apply_kustomization("manifests").unwrap();
    cluster.installation_ready().unwrap();

    // The leader fills what is shipped empty; applying again does not empty it.
    let secret = || object(&cluster, &["secret", "purelb-gossip", "--namespace", NAMESPACE])["data"].clone();
    eventually(DEADLINE, "a key in the Secret", async || {
        let data = secret();
        if data["current"].as_str().is_some_and(|key| !key.is_empty()) { Ok(()) } else { Err(data.to_string()) }
    })
    .await
    .unwrap();
    let key = secret();
    cluster.apply_kustomization("manifests").unwrap();
    assert_eq!(secret(), key);
    let lease = object(&cluster, &["lease", "purelb-allocator", "--namespace", NAMESPACE]);
    assert!(lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| holder.starts_with("allocator-")), "{lease}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_a_group_are_served() {
    let cluster = installed().await;
    let yaml = |version: &str| {
        format!(
            "{{apiVersion: purelb.io/{version}, kind: ServiceGroup, metadata: {{name: from-{version}, namespace: purelb}}, \
         spec: {{local: {{v4pool: {{pool: 198.51.100.{}/32, subnet: 198.51.100.0/24, aggregation: /32}}}}}}}}",
            version.trim_start_matches('v')
        )
    };
    let _v1 = Applied::yaml(&cluster, &yaml("v1"));
    let _v2 = Applied::yaml(&cluster, &yaml("v2"));
    let announce = |name: &str| {
        object(&cluster, &["servicegroups.v2.purelb.io", name, "--namespace", NAMESPACE])["spec"]["local"]["announce"]
            .clone()
    };
    assert_eq!(announce("from-v1"), "SubnetOrRouted");
    assert_eq!(announce("from-v2"), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_programs_show_their_metrics_and_health() {
    let cluster = installed().await;
    for (component, series) in [
        (
            "allocator",
            ["purelb_k8s_client_config_loaded_bool 1", "purelb_events_total", "process_resident_memory_bytes"],
        ),
        (
            "lbnodeagent",
            [
                "purelb_k8s_client_config_loaded_bool 1",
                "purelb_lbnodeagent_selector_state",
                "process_resident_memory_bytes",
            ],
        ),
    ] {
        let selector = format!("component={component}");
        let pods = object(&cluster, &["pods", "--namespace", NAMESPACE, "--selector", &selector]);
        for pod in pods["items"].as_array().unwrap() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let get = |path: &str| {
                cluster.kubectl(&[
                    "get",
                    "--raw",
                    &format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}:7472/proxy/{path}"),
                ])
            };
            for series in series {
                eventually(Duration::from_secs(10), format!("{series} from {name}"), async || {
                    let metrics = get("metrics").map_err(|error| error.to_string())?;
                    if metrics.contains(series) { Ok(()) } else { Err(metrics) }
                })
                .await
                .unwrap();
            }
            get("healthz").unwrap();
            get("readyz").unwrap();
            assert!(get("nothing-here").is_err());
        }
    }
}
