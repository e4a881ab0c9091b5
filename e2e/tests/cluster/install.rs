//! Installing, on a cluster that knows nothing of us yet.

use std::time::Duration;

use e2e::{Cluster, NAMESPACE, eventually};
use serde_json::Value;

use crate::support::{DEADLINE, installed, object};

#[tokio::test(flavor = "multi_thread")]
async fn one_command_installs_on_an_empty_cluster_and_may_be_repeated() {
    let cluster = Cluster::shared().await.unwrap();
    cluster.load_programs().unwrap();
    let directory = e2e::checkout("manifests").to_string_lossy().into_owned();
    cluster.kubectl(&["delete", "-k", &directory, "--ignore-not-found", "--timeout=90s"]).unwrap();
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
    let _v1 = crate::support::Applied::yaml(&cluster, &yaml("v1"));
    let _v2 = crate::support::Applied::yaml(&cluster, &yaml("v2"));
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
