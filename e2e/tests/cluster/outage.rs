//! A node that cannot reach the API server for a while.

use std::time::Instant;

use e2e::{
    KernelLog, Node, eventually,
    testing::{Applied, BareService, DEADLINE, ROUTED_GROUPS, installed, wait_for_address, wait_for_next_hops},
};
use serde_json::Value;

/// Whether the agent's view of the cluster is current, by its `/state` page.
fn is_current(node: &Node) -> Result<bool, String> {
    let page = node.agent_page("/state").map_err(|error| error.to_string())?;
    let state: Value = serde_json::from_str(&page).map_err(|error| error.to_string())?;
    state["current"].as_bool().ok_or(page)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_api_server_catches_up_with_what_changed_and_touches_nothing_else() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let kept = BareService::new(&cluster, "outage-kept", ROUTED_GROUPS).await;
    let gone = BareService::new(&cluster, "outage-gone", ROUTED_GROUPS).await;
    let nodes: Vec<Node> = cluster.nodes().collect();
    let [first, others @ ..] = nodes.as_slice() else { panic!("three nodes") };
    for address in kept.addresses.iter().chain(&gone.addresses) {
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
    let on_nodes: Vec<KernelLog> = nodes.iter().map(|node| node.log_addresses().unwrap()).collect();
    let at_router = cluster.router().log_routes().unwrap();

    let cut = first.drop_api().unwrap();
    let new = BareService::new(&cluster, "outage-new", ROUTED_GROUPS).await;
    let withdrawn = gone.addresses.clone();
    drop(gone);
    for (came, went) in new.addresses.iter().zip(&withdrawn) {
        wait_for_address(others, "kube-lb0", *came, true).await;
        wait_for_address(others, "kube-lb0", *went, false).await;
    }
    eventually(DEADLINE, "an agent that knows that its view is old", async || {
        if is_current(first)? { Err("it takes its view for current".to_owned()) } else { Ok(()) }
    })
    .await
    .unwrap();
    for (came, went) in new.addresses.iter().zip(&withdrawn) {
        wait_for_address(&nodes[..1], "kube-lb0", *came, false).await;
        wait_for_address(&nodes[..1], "kube-lb0", *went, true).await;
    }

    let back = Instant::now();
    cut.end().unwrap();
    for (came, went) in new.addresses.iter().zip(&withdrawn) {
        wait_for_address(&nodes, "kube-lb0", *went, false).await;
        wait_for_address(&nodes, "kube-lb0", *came, true).await;
        wait_for_next_hops(&cluster, *came, &nodes).await;
    }
    println!("the node has caught up {:?} after it heard the API server again", back.elapsed());
    for (node, log) in nodes.iter().zip(&on_nodes) {
        let touched = log.about(&kept.addresses);
        assert!(touched.is_empty(), "on {}: {touched:?}", node.name());
    }
    let touched = at_router.about(&kept.addresses);
    assert!(touched.is_empty(), "at the router: {touched:?}");
}
