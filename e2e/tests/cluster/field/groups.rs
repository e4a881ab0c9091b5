//! Groups that overlap with one that is in use.

use std::net::IpAddr;

use e2e::{
    NAMESPACE, Node, eventually,
    testing::{
        Applied, DEADLINE, SETTLE_TIME, delete_events, group_object, host_routes_object, installed, object,
        restart_agents, service_object, wait_for_address, wait_for_condition, wait_for_group_ready, wait_for_next_hops,
    },
};
use serde_json::json;

use crate::failover::local_service::LocalService;

/// A part of the range that the router learns, which no other test uses.
const ROUTED: [(&str, &str); 1] = [("172.30.200.128/28", "172.30.200.0/24")];

#[tokio::test(flavor = "multi_thread")]
async fn case_65_a_refused_copy_of_a_group_withdraws_no_route() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let nodes: Vec<Node> = cluster.nodes().collect();
    let _group = Applied::yaml(&cluster, &host_routes_object("copied", &ROUTED).to_string());
    let service = service_object("copied", &[("service-group", "copied")], &json!({})).to_string();
    let _service = Applied::yaml(&cluster, &service);
    let address = cluster.service_addresses("default", "copied", 1).await.unwrap()[0];
    wait_for_next_hops(&cluster, address, &nodes).await;
    let at_router = cluster.router().log_routes().unwrap();
    let on_nodes: Vec<_> = nodes.iter().map(|node| node.log_addresses().unwrap()).collect();

    // By its name it comes after the one in use, and before.
    for name in ["zz-copy", "a-copy"] {
        delete_events(&cluster, NAMESPACE, name);
        let _copy = Applied::yaml(&cluster, &group_object(name, "local", &ROUTED).to_string());
        let (_, message) = wait_for_group_ready(&cluster, name, "False").await;
        assert!(message.contains("copied"), "{message}");
        wait_for_condition(&cluster, &["servicegroup", name, "--namespace", NAMESPACE], "Stalled", "").await;
        wait_for_group_ready(&cluster, "copied", "True").await;
        tokio::time::sleep(SETTLE_TIME).await;
        for log in on_nodes.iter().chain([&at_router]) {
            let changes = log.about(&[address]);
            assert!(changes.is_empty(), "{changes:?}");
        }
    }
    // Agents that begin now, and so never knew the group alone.
    let _copy = Applied::yaml(&cluster, &group_object("a-copy", "local", &ROUTED).to_string());
    wait_for_group_ready(&cluster, "a-copy", "False").await;
    restart_agents(&cluster).await;
    wait_for_address(&nodes, "kube-lb0", address, true).await;
    let changes = at_router.about(&[address]);
    assert!(changes.is_empty(), "the router's routes changed: {changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_65_the_group_in_use_stays_when_another_one_overlaps() {
    let cluster = installed().await;
    let local = LocalService::new(&cluster, "before-backup").await;
    let from = local.answers().await;
    let pool = [("192.168.50.200-192.168.50.239", "192.168.50.0/24")];
    let _backup = Applied::yaml(&cluster, &group_object("backup", "local", &pool).to_string());
    wait_for_group_ready(&cluster, "backup", "False").await;
    wait_for_group_ready(&cluster, "default", "True").await;
    let _next = Applied::yaml(&cluster, &service_object("after-backup", &[], &json!({})).to_string());
    let next: IpAddr = cluster.service_addresses("default", "after-backup", 1).await.unwrap()[0];
    assert_eq!(next.to_string(), "192.168.50.200");
    // An edit of the one in use that makes them overlap no more is for the other's good; nothing moves.
    let shrunk = json!({"spec": {"local": {"v4pools": [
        {"pool": "192.168.50.200-192.168.50.224", "subnet": "192.168.50.0/24"},
    ]}}});
    cluster
        .kubectl(&[
            "patch",
            "servicegroup",
            "default",
            "--namespace",
            NAMESPACE,
            "--type=merge",
            "--patch",
            &shrunk.to_string(),
        ])
        .unwrap();
    cluster
        .apply(&group_object("backup", "local", &[("192.168.50.225-192.168.50.239", "192.168.50.0/24")]).to_string())
        .unwrap();
    wait_for_group_ready(&cluster, "backup", "True").await;
    eventually(DEADLINE, "a status of the present generation", async || {
        let group = object(&cluster, &["servicegroup", "default", "--namespace", NAMESPACE]);
        let (observed, present) = (&group["status"]["observedGeneration"], &group["metadata"]["generation"]);
        if observed == present { Ok(()) } else { Err(format!("{observed} of {present}")) }
    })
    .await
    .unwrap();
    local.assert_undisturbed(from);
}
