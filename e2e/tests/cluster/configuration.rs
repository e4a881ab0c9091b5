//! LBNodeAgent resources that come, change and go while the agents run.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use e2e::{
    KernelChange, KernelLog, Mac, Node, SpareLink, eventually,
    testing::{
        Applied, BareService, DEADLINE, ROUTED_GROUPS, installed, node_agent_yaml, wait_for_address, wait_for_next_hops,
    },
};

/// Where remote addresses go for a while.
const OTHER_DUMMY: &str = "kube-lb9";

/// Another interface of a node in the subnet of local addresses.
const OTHER_NIC: &str = "lab1";

/// Waits until these are on kube-lb0 with the right lifetimes.
async fn lifetimes(node: &Node, addresses: &[IpAddr], right: fn(Option<Duration>) -> bool) {
    eventually(DEADLINE, format!("the right lifetimes on {}", node.name()), async || {
        let found = node.addresses("kube-lb0").map_err(|error| error.to_string())?;
        let ours: Vec<_> = found.iter().filter(|found| addresses.contains(&found.address)).collect();
        let good = ours.len() == addresses.len() && ours.iter().all(|found| right(found.valid_for));
        if good { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await
    .unwrap();
}

/// Make before break, by the order of the kernel's reports: an address came to one interface before it left another.
/// Returns how long it was on both.
fn came_before_it_went(log: &KernelLog, address: IpAddr, to: &str, from: &str) -> Option<Duration> {
    let changes = log.about(&[address]);
    let place = |wanted: &dyn Fn(&KernelChange) -> bool| changes.iter().position(wanted);
    let came = place(&|change| !change.is_removal() && change.is_on(to));
    let went = place(&|change| change.is_removal() && change.is_on(from));
    let (Some(came), Some(went)) = (came, went) else { panic!("{address}: {came:?} {went:?} {changes:?}") };
    assert!(came < went, "{address} went from {from} before it came to {to}: {changes:?}");
    changes[went].at.checked_duration_since(changes[came].at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_configuration_applies_at_once_and_another_dummy_interface_withdraws_no_route() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = BareService::new(&cluster, "configuration", ROUTED_GROUPS).await;
    let nodes: Vec<Node> = cluster.nodes().collect();
    let [first, others @ ..] = nodes.as_slice() else { panic!("three nodes") };
    let spares: Vec<SpareLink> = nodes.iter().map(|node| node.spare_dummy(OTHER_DUMMY).unwrap()).collect();
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }

    let (on_node, at_router) = (first.log_addresses().unwrap(), cluster.router().log_routes().unwrap());
    let applied = Applied::yaml(&cluster, &node_agent_yaml(None, &format!("dummyInterface: {OTHER_DUMMY}")));
    for address in &remote.addresses {
        wait_for_address(&nodes, OTHER_DUMMY, *address, true).await;
        wait_for_address(&nodes, "kube-lb0", *address, false).await;
        let both = came_before_it_went(&on_node, *address, OTHER_DUMMY, "kube-lb0");
        println!("{address} was on both dummy interfaces for {both:?}");
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
    drop(applied);
    for address in &remote.addresses {
        wait_for_address(&nodes, "kube-lb0", *address, true).await;
        wait_for_address(&nodes, OTHER_DUMMY, *address, false).await;
        came_before_it_went(&on_node, *address, "kube-lb0", OTHER_DUMMY);
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
    // What the nodes advertised before this route has arrived when it has, by the same sessions.
    let last = BareService::new(&cluster, "configuration-last", ROUTED_GROUPS).await;
    for address in &last.addresses {
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
    for address in &remote.addresses {
        let interruptions = at_router.interruptions(*address, nodes.len());
        assert!(interruptions.is_empty(), "the route to {address} was interrupted: {interruptions:?}");
    }
    drop(spares);

    // It selects one node, so the others announce nothing.
    let lifetime = "addressConfig: {dummyInterface: {validLifetime: 120, preferredLifetime: 120}}";
    let applied = Applied::yaml(&cluster, &node_agent_yaml(Some(first), lifetime));
    lifetimes(first, &remote.addresses, |valid| valid.is_some()).await;
    for address in &remote.addresses {
        wait_for_address(others, "kube-lb0", *address, false).await;
        wait_for_next_hops(&cluster, *address, [first]).await;
    }
    drop(applied);
    for node in &nodes {
        lifetimes(node, &remote.addresses, |valid| valid.is_none()).await;
    }
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, &nodes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_addresses_move_to_the_interface_that_the_configuration_names() {
    let cluster = installed().await;
    let _local = Applied::kustomization(&cluster, "manifests/samples/local");
    let local = BareService::new(&cluster, "other-nic", "default").await;
    let node = cluster.node(1);
    let _second = node.second_cable(OTHER_NIC).unwrap();
    let mut monitors = Vec::new();
    for address in &local.addresses {
        monitors.push(cluster.client().monitor(*address).unwrap());
    }
    let answered_by = async |mac: Mac| {
        eventually(DEADLINE, format!("steady answers by {mac} alone"), async || {
            let macs: Vec<_> = monitors.iter().map(|monitor| monitor.steady(Duration::from_millis(500))).collect();
            if macs.iter().all(|found| *found == Some(mac)) { Ok(()) } else { Err(format!("{macs:?}")) }
        })
        .await
        .unwrap();
    };

    let _config = Applied::yaml(&cluster, &node_agent_yaml(Some(&node), "localInterface: default"));
    answered_by(node.mac()).await;
    for (name, mac) in [(OTHER_NIC, node.second_mac()), ("eth0", node.mac())] {
        let from = Instant::now();
        cluster.apply(&node_agent_yaml(Some(&node), &format!("localInterface: ^{name}$"))).unwrap();
        answered_by(mac).await;
        for (address, monitor) in local.addresses.iter().zip(&monitors) {
            let observed = monitor.so_far().since(from);
            let (gap, both) = (observed.longest_silence(), observed.overlap());
            println!("{address} moved to {name}: no answer for {gap:?}, both answered for {both:?}");
            assert!(gap < Duration::from_secs(5), "{address}: no answer for {gap:?}");
        }
    }
}
