//! A node whose kube-proxy fails while everything else on it goes on.

use std::time::Duration;

use e2e::{
    Node, Signal, eventually,
    testing::{
        Applied, BareService, ROUTED_GROUPS, Undo, installed, only_node_with, wait_for_address, wait_for_event,
        wait_for_next_hops,
    },
};

/// kube-proxy may be silent for 30 s, and is looked at every ten.
const NOTICED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_kube_proxy_hangs_is_left() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    let routed = BareService::new(&cluster, "routed", ROUTED_GROUPS).await;
    let local = BareService::new(&cluster, "local", "default").await;
    let nodes: Vec<Node> = cluster.nodes().collect();
    wait_for_next_hops(&cluster, routed.addresses[0], &nodes).await;
    let owner = only_node_with(&cluster, local.addresses[0]).await;
    // The agents have seen that kube-proxy lives.
    for node in &nodes {
        eventually(NOTICED, format!("kube-proxy on {}", node.name()), async || {
            let state = node.agent_page("/state").map_err(|error| error.to_string())?;
            if state.contains(r#""kubeProxy":"nftables""#) { Ok(()) } else { Err(state) }
        })
        .await
        .unwrap();
    }
    let pid = owner.service_pid("kube-proxy").unwrap();
    owner.kill(pid, Signal::SIGSTOP).unwrap();
    let frozen = Undo::new(|| owner.kill(pid, Signal::SIGCONT));
    for address in &local.addresses {
        eventually(NOTICED, format!("{address} on another node"), async || {
            let holders = e2e::testing::nodes_with(&cluster, *address);
            if holders.len() == 1 && !holders.contains(&owner.name()) { Ok(()) } else { Err(format!("{holders:?}")) }
        })
        .await
        .unwrap();
    }
    let others: Vec<Node> = cluster.nodes().filter(|node| node.name() != owner.name()).collect();
    for address in &routed.addresses {
        wait_for_next_hops(&cluster, *address, &others).await;
    }
    wait_for_event(&cluster, "default", &owner.name(), "KubeProxyFailed", "on its ports").await;
    drop(frozen);
    for address in &routed.addresses {
        wait_for_next_hops(&cluster, *address, &nodes).await;
        wait_for_address(&nodes, "kube-lb0", *address, true).await;
    }
}
