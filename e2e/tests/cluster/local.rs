//! Addresses inside the nodes' own subnet.

use std::collections::BTreeSet;

use e2e::{
    eventually,
    testing::{Applied, DEADLINE, EchoNamespace, installed, nodes_with},
};

#[tokio::test(flavor = "multi_thread")]
async fn one_node_answers_for_a_local_address_in_both_families() {
    let cluster = installed().await;
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    let space = EchoNamespace::new(&cluster, "local");
    space.service("web", &[], &[("ipFamilyPolicy", "RequireDualStack")]);
    let addresses = space.addresses("web", 2).await;
    let texts: BTreeSet<String> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["192.168.50.200", "fd00:50::200"].map(str::to_owned).into());
    for address in &addresses {
        space.answers(*address).await;
        let holders = nodes_with(&cluster, *address);
        assert_eq!(holders.len(), 1, "{address}: {holders:?}");
        for node in cluster.nodes() {
            let dummy = node.addresses("kube-lb0").unwrap();
            assert!(dummy.iter().all(|found| found.address != *address), "{address} is on kube-lb0 of {}", node.name());
        }
    }

    // The annotation follows the announcement.
    eventually(DEADLINE, "the announcing annotations", async || {
        let annotations = space.kubectl(&["get", "service", "web", "-o", "jsonpath={.metadata.annotations}"]);
        let holder = nodes_with(&cluster, addresses[0]).pop_first().unwrap_or_default();
        let slot = format!("{holder},eth0,{}", addresses[0]);
        if annotations.contains(&slot) && annotations.contains("announcing-IPv6") { Ok(()) } else { Err(annotations) }
    })
    .await
    .unwrap();

    space.kubectl(&["delete", "service", "web"]);
    for address in &addresses {
        eventually(DEADLINE, format!("{address} on no node"), async || {
            let holders = nodes_with(&cluster, *address);
            if holders.is_empty() { Ok(()) } else { Err(format!("{holders:?}")) }
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_answers_when_the_owner_is_cut_off() {
    let cluster = installed().await;
    let _groups = Applied::kustomization(&cluster, "manifests/samples/local");
    let space = EchoNamespace::new(&cluster, "failover");
    space.service("web", &[], &[]);
    let address = space.addresses("web", 1).await[0];
    space.answers(address).await;
    let owner = nodes_with(&cluster, address).pop_first().unwrap();
    let node = cluster.nodes().find(|node| node.name() == owner).unwrap();
    node.isolate().unwrap();
    eventually(DEADLINE, "another node with the address", async || {
        let others: Vec<_> = nodes_with(&cluster, address).into_iter().filter(|holder| *holder != owner).collect();
        if others.len() == 1 { Ok(()) } else { Err(format!("{others:?}")) }
    })
    .await
    .unwrap();
    space.answers(address).await;
    node.rejoin().unwrap();
    eventually(DEADLINE, "one holder after the node came back", async || {
        let holders = nodes_with(&cluster, address);
        if holders.len() == 1 { Ok(()) } else { Err(format!("{holders:?}")) }
    })
    .await
    .unwrap();
}
