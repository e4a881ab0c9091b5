//! A status or annotations that somebody else writes, empties or restores.

use std::{net::IpAddr, time::Instant};

use api_types::service::ingress_addresses;
use e2e::{
    Cluster, Family, Node, eventually,
    testing::{
        Applied, BareService, DEADLINE, ROUTED_GROUPS, SETTLE_TIME, Undo, Watched, WithoutAllocator, delete_events,
        installed, nodes_with, object, overwrite_status, service_object, wait_for_address, wait_for_event,
        wait_for_next_hops,
    },
};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use crate::failover::local_service::LocalService;

/// Waits until the status of a Service in `default` has these very addresses.
async fn has(cluster: &Cluster, name: &str, addresses: &[IpAddr]) {
    eventually(DEADLINE, format!("{name} with {addresses:?}"), async || {
        let service: Service = serde_json::from_value(object(cluster, &["service", name])).unwrap();
        let found = ingress_addresses(&service);
        if found == addresses { Ok(()) } else { Err(format!("{found:?} {:?}", service.metadata.annotations)) }
    })
    .await
    .unwrap();
}

/// Waits until the annotations of a Service in `default` are those of an allocation of these addresses to it.
async fn is_marked(cluster: &Cluster, name: &str, addresses: &[IpAddr]) {
    let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    eventually(DEADLINE, format!("marks of {list} on {name}"), async || {
        let metadata = object(cluster, &["service", name])["metadata"].clone();
        let found = &metadata["annotations"];
        let good = found["purelb.io/allocated-by"] == "PureLB"
            && found["purelb.io/allocated-addresses"] == *list
            && found["purelb.io/allocated-to"] == metadata["uid"];
        if good { Ok(()) } else { Err(found.to_string()) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_a_foreign_controller_writes_a_nodes_address_into_the_status() {
    let cluster = installed().await;
    delete_events(&cluster, "default", "overwritten");
    let local = LocalService::new(&cluster, "overwritten").await;
    let owner = local.owner();
    let victim = cluster.nodes().find(|node| node.id() != owner.id()).unwrap();
    let own = Family::ALL.map(|family| victim.id().address(family));
    let watched = Watched::new(&cluster, own);
    watched.answered_by(|macs| macs == [victim.mac(); 2]).await;
    let from = Instant::now();
    overwrite_status(&cluster, "default", local.name, "svclb", &own);
    has(&cluster, local.name, &local.addresses).await;
    wait_for_event(&cluster, "default", local.name, "StatusOverwritten", "svclb").await;
    // Emptied, which takes nothing away either.
    overwrite_status(&cluster, "default", local.name, "svclb", &[]);
    has(&cluster, local.name, &local.addresses).await;
    tokio::time::sleep(SETTLE_TIME).await;
    watched.assert_only(victim.mac(), from);
    local.assert_only(owner.mac(), from);
    for address in own {
        assert_eq!(nodes_with(&cluster, address), [victim.name()].into());
    }
    is_marked(&cluster, local.name, &local.addresses).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_10_a_service_is_replaced_without_our_annotations() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = BareService::new(&cluster, "replaced-remote", ROUTED_GROUPS).await;
    let local = LocalService::new(&cluster, "replaced").await;
    let owner = local.owner();
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }
    let at_router = cluster.router().log_routes().unwrap();
    let from = Instant::now();
    for name in [remote.name, local.name] {
        let mut service = object(&cluster, &["service", name]);
        for field in ["resourceVersion", "uid", "creationTimestamp", "managedFields"] {
            service["metadata"].as_object_mut().unwrap().remove(field);
        }
        let annotations = service["metadata"]["annotations"].as_object_mut().unwrap();
        // What the user wrote stays; kubectl's own copy of the manifest does not matter.
        annotations.retain(|key, _| ["purelb.io/service-group", "purelb.io/addresses"].contains(&key.as_str()));
        replace(&cluster, &service);
    }
    is_marked(&cluster, remote.name, &remote.addresses).await;
    is_marked(&cluster, local.name, &local.addresses).await;
    tokio::time::sleep(SETTLE_TIME).await;
    local.assert_only(owner.mac(), from);
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
        let interruptions = at_router.interruptions(*address, cluster.nodes().count());
        assert!(interruptions.is_empty(), "the route to {address} was interrupted: {interruptions:?}");
    }
}

/// `kubectl replace` of one object.
fn replace(cluster: &Cluster, object: &Value) {
    let path = cluster.layout().directory().join("replaced.json");
    std::fs::write(&path, object.to_string()).unwrap();
    cluster.kubectl(&["replace", "-f", &path.to_string_lossy()]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn case_21_a_foreign_finalizer_holds_a_deleted_service() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "held").await;
    let _free = Undo::kubectl(
        &cluster,
        &[
            "patch",
            "service",
            "held",
            "--type=merge",
            "--patch",
            r#"{"metadata": {"finalizers": ["example.com/wait"]}}"#,
        ],
        &["patch", "service", "held", "--type=merge", "--patch", r#"{"metadata": {"finalizers": null}}"#],
    );
    cluster.kubectl(&["delete", "service", "held", "--wait=false"]).unwrap();
    has(&cluster, "held", &[]).await;
    let nodes: Vec<_> = cluster.nodes().collect();
    for address in local.addresses {
        wait_for_address(&nodes, "eth0", address, false).await;
    }
    // They are free for another.
    let [v4, v6] = local.addresses;
    let annotations = [("addresses", &*format!("{v4},{v6}"))];
    let spec = json!({"ipFamilyPolicy": "RequireDualStack"});
    let _next = Applied::yaml(&cluster, &service_object("next", &annotations, &spec).to_string());
    has(&cluster, "next", &local.addresses).await;
    let nodes: Vec<_> = nodes.iter().map(Node::mac).collect();
    local.answered_by(|macs| macs.iter().all(|mac| nodes.contains(mac))).await;
    tokio::time::sleep(SETTLE_TIME).await;
    has(&cluster, "held", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_73_a_service_is_restored_with_marks_and_status_of_another_cluster() {
    let cluster = installed().await;
    delete_events(&cluster, "default", "restored");
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let [stray, pooled]: [IpAddr; 2] = ["198.51.100.7", "172.30.200.158"].map(|text| text.parse().unwrap());
    // No group of that name: until the status comes, the allocator has nothing to give.
    let marks = [
        ("service-group", "of-another-cluster"),
        ("allocated-by", "PureLB"),
        ("allocated-from", "of-another-cluster"),
        ("pool-type", "remote"),
        ("allocated-addresses", "198.51.100.7,172.30.200.158"),
        ("allocated-to", "00000000-0000-0000-0000-000000000001"),
    ];
    let _restored = Applied::yaml(&cluster, &service_object("restored", &marks, &json!({})).to_string());
    overwrite_status(&cluster, "default", "restored", "velero", &[stray, pooled]);
    tokio::time::sleep(SETTLE_TIME).await;
    for node in cluster.nodes() {
        for interface in ["kube-lb0", "eth0"] {
            let found = node.addresses(interface).unwrap();
            let ours = found.iter().find(|found| [stray, pooled].contains(&found.address));
            assert!(ours.is_none(), "{} announces {ours:?}", node.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_73_a_restored_service_and_its_copy_are_served_for_the_objects_they_are() {
    let cluster = installed().await;
    let names = ["restored-here", "restored-copy"];
    for name in names {
        delete_events(&cluster, "default", name);
    }
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let before: IpAddr = "172.30.200.158".parse().unwrap();
    let marks = [
        ("service-group", "ipv4-routed"),
        ("allocated-by", "PureLB"),
        ("allocated-from", "ipv4-routed"),
        ("pool-type", "remote"),
        ("allocated-addresses", "172.30.200.158"),
        ("allocated-to", "00000000-0000-0000-0000-000000000001"),
    ];
    let nodes: Vec<Node> = cluster.nodes().collect();
    let logs: Vec<_> = nodes.iter().map(|node| node.log_addresses().unwrap()).collect();
    let stopped = WithoutAllocator::new(&cluster).await;
    let object = |name: &str| service_object(name, &marks, &json!({})).to_string();
    let _restored = Applied::yaml(&cluster, &object(names[0]));
    overwrite_status(&cluster, "default", names[0], "velero", &[before]);
    tokio::time::sleep(SETTLE_TIME).await;
    for log in &logs {
        let started = log.about(&[before]);
        assert!(started.is_empty(), "announced before the allocator gave it: {started:?}");
    }
    drop(stopped);
    cluster.installation_ready().unwrap();
    is_marked(&cluster, names[0], &[before]).await;
    has(&cluster, names[0], &[before]).await;
    wait_for_event(&cluster, "default", names[0], "ConfigurationWarning", "another object").await;

    // A copy of it gets an address of its own.
    let _copy = Applied::yaml(&cluster, &object(names[1]));
    wait_for_event(&cluster, "default", names[1], "ConfigurationWarning", "another object").await;
    let copy = cluster.service_addresses("default", names[1], 1).await.unwrap();
    assert_ne!(copy, [before]);
    is_marked(&cluster, names[1], &copy).await;
    for address in [before, copy[0]] {
        wait_for_next_hops(&cluster, address, &nodes).await;
    }
}
