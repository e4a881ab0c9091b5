//! Whose a Service is when settings change, and objects of a later release.

use std::time::Instant;

use e2e::{
    Cluster, NAMESPACE, Node, Result,
    testing::{
        Applied, BareService, ROUTED_GROUPS, SETTLE_TIME, Undo, Watched, delete_events, installed, object,
        restart_agents, service_object, wait_for_event, wait_for_next_hops,
    },
};
use serde_json::{Value, json};

use crate::failover::local_service::{LocalService, SOON};

/// Both programs with this setting of `DEFAULT_ANNOUNCER`, a removal if it ends with `-`.
fn announcer(cluster: &Cluster, setting: &str) -> Result<()> {
    for workload in ["deployment/allocator", "daemonset/lbnodeagent"] {
        cluster.kubectl(&["set", "env", "--namespace", NAMESPACE, workload, setting])?;
    }
    cluster.installation_ready()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_72_the_default_announcer_is_taken_away() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = BareService::new(&cluster, "classless-remote", ROUTED_GROUPS).await;
    let local = LocalService::new(&cluster, "classless").await;
    let owner = local.owner();
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }
    let at_router = cluster.router().log_routes().unwrap();
    let from = Instant::now();
    let _back = Undo::new(|| announcer(&cluster, "DEFAULT_ANNOUNCER=PureLB"));
    announcer(&cluster, "DEFAULT_ANNOUNCER-").unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_only(owner.mac(), from);
    let changes = at_router.about(&remote.addresses);
    assert!(changes.is_empty(), "the router's routes changed: {changes:?}");

    // Failover goes on as well.
    let cut = local.answers().await;
    owner.isolate().unwrap();
    local.answered_by(|macs| !macs.contains(&owner.mac())).await;
    local.assert_moved_once(cut, SOON);
    owner.rejoin().unwrap();

    // New ones without a class are left alone, and those of our class are served.
    let _none = Applied::yaml(&cluster, &service_object("classless-new", &[], &json!({})).to_string());
    let class = json!({"loadBalancerClass": "purelb.io/purelb"});
    let _ours = Applied::yaml(&cluster, &service_object("class-new", &[], &class).to_string());
    cluster.service_addresses("default", "class-new", 1).await.unwrap();
    let none = object(&cluster, &["service", "classless-new"]);
    assert_eq!(none["status"]["loadBalancer"], json!({}));
    assert_eq!(none["metadata"]["annotations"]["purelb.io/allocated-by"], Value::Null);
}

/// Adds a value to each enumeration of this field in the CRD of LBNodeAgents, as a later release does.
fn later_release<'a>(cluster: &'a Cluster, field: &str, value: &str) -> Undo<'a> {
    fn add(schema: &mut Value, field: &str, value: &str) {
        if let Some(values) = schema.pointer_mut(&format!("/properties/{field}/enum")).and_then(Value::as_array_mut) {
            values.push(json!(value));
        }
        match schema {
            Value::Object(fields) => fields.values_mut().for_each(|inner| add(inner, field, value)),
            Value::Array(items) => items.iter_mut().for_each(|inner| add(inner, field, value)),
            _ => {}
        }
    }
    let mut definition = object(cluster, &["crd", "lbnodeagents.purelb.io"]);
    add(&mut definition, field, value);
    let metadata = definition["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "labels"].contains(&key.as_str()));
    let undone = Undo::new(|| cluster.apply_kustomization("manifests").map(drop));
    let spec = json!({"spec": definition["spec"]}).to_string();
    cluster.kubectl(&["patch", "crd", "lbnodeagents.purelb.io", "--type=merge", "--patch", &spec]).unwrap();
    undone
}

#[tokio::test(flavor = "multi_thread")]
async fn case_96_a_configuration_of_a_later_release_is_refused_alone() {
    let cluster = installed().await;
    delete_events(&cluster, NAMESPACE, "later");
    let local = LocalService::new(&cluster, "before-later").await;
    let owner = local.owner();
    let _schema = later_release(&cluster, "conflictDetection", "Someday");
    let from = Instant::now();
    let of = |namespace: &str| {
        json!({
            "apiVersion": "purelb.io/v2", "kind": "LBNodeAgent", "metadata": {"name": "later", "namespace": namespace},
            "spec": {"local": {"conflictDetection": "Someday"}},
        })
        .to_string()
    };
    let _unread = ["default", NAMESPACE].map(|namespace| Applied::yaml(&cluster, &of(namespace)));
    wait_for_event(&cluster, NAMESPACE, "later", "ConfigError", "conflictDetection").await;
    wait_for_event(&cluster, NAMESPACE, "later", "ConfigError", "Someday").await;
    // All others go on: a new address is announced, and an agent that starts now is ready.
    restart_agents(&cluster).await;
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    let _new = Applied::yaml(&cluster, &service_object("after-later", &[], &dual).to_string());
    let addresses = cluster.service_addresses("default", "after-later", 2).await.unwrap();
    let macs: Vec<_> = cluster.nodes().map(|node: Node| node.mac()).collect();
    let watched = Watched::<2>::new(&cluster, addresses.try_into().unwrap());
    watched.answered_by(|found| found.iter().all(|mac| macs.contains(mac))).await;
    local.assert_only(owner.mac(), from);
}
