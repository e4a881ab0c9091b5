//! Whose a Service is when settings change, and objects of a later release.

use std::time::Instant;

use e2e::{
    Cluster, NAMESPACE, Node, Result,
    testing::{
        Applied, SETTLE_TIME, Undo, Watched, delete_events, installed, object, overwrite_status, restart_agents,
        service_object, wait_for_address, wait_for_event, wait_for_next_hops,
    },
};
use serde_json::{Value, json};

use crate::{
    failover::local_service::{LocalService, SOON},
    field::announced::Announced,
};

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
    let announced = Announced::new(&cluster, "classless-remote", "classless").await;
    let Announced { local, owner, .. } = &announced;
    let _back = Undo::new(|| announcer(&cluster, "DEFAULT_ANNOUNCER=PureLB"));
    announcer(&cluster, "DEFAULT_ANNOUNCER-").unwrap();
    tokio::time::sleep(SETTLE_TIME).await;
    announced.assert_undisturbed();

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

#[tokio::test(flavor = "multi_thread")]
async fn case_72_services_are_released_to_another_load_balancer() {
    let cluster = installed().await;
    delete_events(&cluster, "default", "class-released");
    let announced = Announced::new(&cluster, "released-remote", "not-released").await;
    let Announced { local, remote, owner, .. } = &announced;
    let class = json!({"loadBalancerClass": "purelb.io/purelb"});
    let _ours = Applied::yaml(&cluster, &service_object("class-released", &[], &class).to_string());
    let ours = cluster.service_addresses("default", "class-released", 1).await.unwrap();
    for name in [remote.name, "class-released"] {
        cluster.kubectl(&["annotate", "service", name, "purelb.io/release=true"]).unwrap();
    }
    let nodes: Vec<Node> = cluster.nodes().collect();
    for address in &remote.addresses {
        wait_for_address(&nodes, "kube-lb0", *address, false).await;
        wait_for_next_hops(&cluster, *address, None::<Node>).await;
    }
    let released = object(&cluster, &["service", remote.name]);
    assert_eq!(released["status"]["loadBalancer"], json!({}));
    let annotations = released["metadata"]["annotations"].as_object().unwrap();
    let left: Vec<_> =
        annotations.keys().filter(|key| key.contains("allocated") || key.contains("pool-type")).collect();
    assert!(left.is_empty(), "{left:?}");
    // What the other load balancer gives is not touched.
    let foreign = ["198.51.100.7".parse().unwrap()];
    overwrite_status(&cluster, "default", remote.name, "other-lb", &foreign);
    tokio::time::sleep(SETTLE_TIME).await;
    assert_eq!(cluster.service_addresses("default", remote.name, 1).await.unwrap(), foreign);
    for node in &nodes {
        let found = node.addresses("kube-lb0").unwrap();
        assert!(found.iter().all(|found| found.address != foreign[0]), "{found:?}");
    }
    // With a class of ours there is nobody to whom a Service could be released.
    assert_eq!(cluster.service_addresses("default", "class-released", 1).await.unwrap(), ours);
    wait_for_event(&cluster, "default", "class-released", "ConfigurationWarning", "purelb.io/release").await;
    local.assert_only(owner.mac(), announced.from);
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
