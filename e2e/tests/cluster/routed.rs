//! Remote addresses from the sample for Calico: ServiceGroup, kube-lb0, BIRD, router, client.

use std::collections::BTreeSet;
use std::net::IpAddr;

use e2e::{
    Cluster, Family, eventually,
    testing::{Applied, DEADLINE, EchoNamespace, ROUTED_GROUPS, installed, wait_for_group_ready},
};

const BOTH_GROUPS: (&str, &str) = ("purelb.io/service-group", ROUTED_GROUPS);
const DUAL_STACK: (&str, &str) = ("ipFamilyPolicy", "RequireDualStack");

/// Waits until the router has exactly these host routes, each by way of all nodes and with the seed's community.
async fn routed_by_all_nodes(cluster: &Cluster, addresses: &[IpAddr]) {
    for family in Family::ALL {
        let wanted: BTreeSet<IpAddr> =
            addresses.iter().copied().filter(|address| Family::of(*address) == family).collect();
        eventually(DEADLINE, format!("routes to {wanted:?} at the router"), async || {
            let routes = cluster.router().routes(family).map_err(|error| error.to_string())?;
            let good = routes
                .iter()
                .all(|route| route.next_hops.len() == cluster.nodes().count() && route.communities.contains("100:100"));
            let prefixes: BTreeSet<IpAddr> = routes.iter().map(|route| route.prefix.ip()).collect();
            let hosts = routes
                .iter()
                .all(|route| i32::from(route.prefix.prefix()) == if family == Family::V4 { 32 } else { 128 });
            if good && hosts && prefixes == wanted { Ok(()) } else { Err(format!("{routes:?}")) }
        })
        .await
        .unwrap();
    }
}

/// Waits until kube-lb0 of every node has exactly these addresses, link-local ones aside.
async fn on_every_dummy_interface(cluster: &Cluster, addresses: &[IpAddr]) {
    let wanted: BTreeSet<IpAddr> = addresses.iter().copied().collect();
    for node in cluster.nodes() {
        eventually(DEADLINE, format!("{wanted:?} on kube-lb0 of {}", node.name()), async || {
            let found = node.addresses("kube-lb0").map_err(|error| error.to_string())?;
            let found: BTreeSet<IpAddr> =
                found.iter().filter(|found| found.scope == "global").map(|found| found.address).collect();
            if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeds_yaml_reaches_the_router_and_the_client_in_both_families() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    wait_for_group_ready(&cluster, "ipv4-routed", "True").await;
    wait_for_group_ready(&cluster, "ipv6-routed", "True").await;
    let space = EchoNamespace::new(&cluster, "seed-chain");
    space.service("web", &[BOTH_GROUPS], &[DUAL_STACK]);

    let addresses = space.addresses("web", 2).await;
    let texts: BTreeSet<String> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["172.30.200.155", "2001:470:8bf5:2:2::1"].map(str::to_owned).into());
    on_every_dummy_interface(&cluster, &addresses).await;
    routed_by_all_nodes(&cluster, &addresses).await;
    for address in &addresses {
        space.answers(*address).await;
    }

    // A second Service gets the next address; the first keeps its own.
    space.service("second", &[BOTH_GROUPS], &[DUAL_STACK]);
    let mut all = space.addresses("second", 2).await;
    all.extend(&addresses);
    routed_by_all_nodes(&cluster, &all).await;

    // Deleting withdraws everywhere.
    space.kubectl(&["delete", "service", "second"]);
    routed_by_all_nodes(&cluster, &addresses).await;
    on_every_dummy_interface(&cluster, &addresses).await;
    space.kubectl(&["delete", "service", "web"]);
    routed_by_all_nodes(&cluster, &[]).await;
    on_every_dummy_interface(&cluster, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_one_family_takes_the_listed_group_that_has_it() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "one-family");
    space.service("six", &[BOTH_GROUPS], &[("ipFamilyPolicy", "SingleStack"), ("ipFamilies", "[IPv6]")]);
    let addresses = space.addresses("six", 1).await;
    assert_eq!(addresses, ["2001:470:8bf5:2:2::1".parse::<IpAddr>().unwrap()]);
    space.answers(addresses[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_type_withdraws_and_takes_our_marks_away() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "type-change");
    space.service("web", &[BOTH_GROUPS], &[DUAL_STACK]);
    let addresses = space.addresses("web", 2).await;
    routed_by_all_nodes(&cluster, &addresses).await;
    space.kubectl(&["patch", "service", "web", "-p", r#"{"spec": {"type": "ClusterIP"}}"#]);
    routed_by_all_nodes(&cluster, &[]).await;
    eventually(DEADLINE, "no annotations of ours", async || {
        let annotations = space.kubectl(&["get", "service", "web", "-o", "jsonpath={.metadata.annotations}"]);
        let ours = ["allocated-by", "allocated-from", "pool-type"].iter().any(|mark| annotations.contains(mark));
        if ours { Err(annotations) } else { Ok(()) }
    })
    .await
    .unwrap();
}
