//! Being careful never takes an address away that works, and never touches what is another program's.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use e2e::{
    Cluster, NAMESPACE, Node, SpareLink, eventually,
    testing::{
        Applied, BareService, DEADLINE, ROUTED_GROUPS, SETTLE_TIME, Undo, Watched, WithoutAllocator, delete_events,
        installed, nodes_with, object, overwrite_status, restart_agents, service_object, wait_for_event,
        wait_for_next_hops,
    },
};
use serde_json::{Value, json};

use crate::failover::local_service::LocalService;

/// What another load balancer looks at: everything but the version.
fn seen_by_its_owner(cluster: &Cluster, name: &str) -> [Value; 3] {
    let service = object(cluster, &["service", name]);
    let (metadata, status) = (&service["metadata"], &service["status"]);
    [metadata["annotations"].clone(), status["loadBalancer"].clone(), service["spec"].clone()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_another_load_balancer_is_never_touched_nor_answered_for() {
    let cluster = installed().await;
    for name in ["other-class", "other-default"] {
        delete_events(&cluster, "default", name);
    }
    let local = LocalService::new(&cluster, "ours").await;
    let node = cluster.node(2);
    let addresses: [IpAddr; 2] = ["192.168.50.226".parse().unwrap(), "192.168.50.227".parse().unwrap()];
    let [of_class, classless] = addresses;
    let other = json!({"loadBalancerClass": "example.com/other"});
    let stopped = WithoutAllocator::new(&cluster).await;
    let services = [("other-class", &other, of_class), ("other-default", &json!({}), classless)];
    let _services = services.map(|(name, spec, address)| {
        let applied = Applied::yaml(&cluster, &service_object(name, &[], spec).to_string());
        overwrite_status(&cluster, "default", name, "other-lb", &[address]);
        applied
    });
    let _vips = addresses.map(|address| Undo::address(&node, &format!("{address}/32"), "eth0"));
    let before = services.map(|(name, ..)| seen_by_its_owner(&cluster, name));
    let watched = Watched::new(&cluster, addresses);
    watched.answered_by(|macs| macs == [node.mac(); 2]).await;
    let from = Instant::now();
    drop(stopped);
    cluster.installation_ready().unwrap();
    wait_for_event(&cluster, "default", "other-default", "ForeignAddress", "re-evaluate").await;
    restart_agents(&cluster).await;

    watched.assert_only(node.mac(), from);
    for address in addresses {
        assert_eq!(nodes_with(&cluster, address), [node.name()].into());
        let found = node.addresses("eth0").unwrap();
        let vip = found.iter().find(|found| found.address == address).unwrap();
        assert_eq!((vip.prefix_length, vip.valid_for), (32, None), "{address} was changed");
    }
    assert_eq!(services.map(|(name, ..)| seen_by_its_owner(&cluster, name)), before);
    // Nor given to another.
    let _pinned = Applied::yaml(
        &cluster,
        &service_object("wants-other", &[("addresses", "192.168.50.227")], &json!({})).to_string(),
    );
    wait_for_event(&cluster, "default", "wants-other", "AllocationFailed", "192.168.50.227").await;
    local.assert_undisturbed(from);
}

/// Takes all annotations that our programs write off a Service, as one does who does not know them.
fn without_our_annotations(cluster: &Cluster, name: &str) {
    let annotations = object(cluster, &["service", name])["metadata"]["annotations"].clone();
    let users = ["purelb.io/service-group", "purelb.io/addresses"];
    let all = annotations.as_object().unwrap().keys().filter(|key| key.starts_with("purelb.io/"));
    let ours: Vec<String> = all.filter(|key| !users.contains(&key.as_str())).map(|key| format!("{key}-")).collect();
    let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
    cluster.kubectl(&[&["annotate", "service", name][..], &ours].concat()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_removed_while_no_allocator_runs_and_all_agents_restart_withdraw_nothing() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = BareService::new(&cluster, "unmarked-remote", ROUTED_GROUPS).await;
    let local = LocalService::new(&cluster, "unmarked").await;
    let owner = local.owner();
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }
    let at_router = cluster.router().log_routes().unwrap();
    let undisturbed = |from: Instant| {
        local.assert_only(owner.mac(), from);
        let changes = at_router.about(&remote.addresses);
        assert!(changes.is_empty(), "the router's routes changed: {changes:?}");
    };
    let from = Instant::now();
    let stopped = WithoutAllocator::new(&cluster).await;
    for name in [remote.name, local.name] {
        without_our_annotations(&cluster, name);
    }
    restart_agents(&cluster).await;
    undisturbed(from);
    drop(stopped);
    cluster.installation_ready().unwrap();
    for (name, addresses) in [(remote.name, &remote.addresses[..]), (local.name, &local.addresses[..])] {
        let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        // A new leader leaves it alone for the rest of the minute in which its predecessor wrote it.
        eventually(DEADLINE + Duration::from_secs(60), format!("the marks of {name}"), async || {
            let annotations = object(&cluster, &["service", name])["metadata"]["annotations"].clone();
            let back = annotations["purelb.io/allocated-addresses"] == *list;
            if back { Ok(()) } else { Err(annotations.to_string()) }
        })
        .await
        .unwrap();
    }
    undisturbed(from);
}

/// A node whose service proxy keeps these addresses on an interface of its own, with strict ARP, until this is dropped.
fn service_proxy<'a>(node: &Node, addresses: &[IpAddr]) -> (SpareLink, Undo<'a>) {
    let link = node.spare_network("kube-ipvs0").unwrap();
    let at = node.clone();
    let strict = |ignore: u8, announce: u8| {
        ["ignore", "announce"]
            .into_iter()
            .zip([ignore, announce])
            .map(|(name, value)| format!("net.ipv4.conf.all.arp_{name}={value}"))
    };
    let undone = Undo::new(move || strict(0, 0).try_for_each(|line| at.exec(&["sysctl", "-qw", &line]).map(drop)));
    strict(1, 2).for_each(|line| drop(node.exec(&["sysctl", "-qw", &line]).unwrap()));
    let lines: Vec<String> =
        addresses.iter().map(|address| format!("address add {} dev kube-ipvs0", host(*address))).collect();
    node.exec_with_input(&["ip", "-batch", "-"], lines.join("\n")).unwrap();
    (link, undone)
}

/// An address as a route to one host.
fn host(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_proxy_keeps_on_its_own_interface_stays_available_and_announced() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let remote = BareService::new(&cluster, "ipvs-remote", ROUTED_GROUPS).await;
    let local = LocalService::new(&cluster, "ipvs").await;
    let owner = local.owner();
    for address in &remote.addresses {
        wait_for_next_hops(&cluster, *address, cluster.nodes()).await;
    }
    // Where the address is announced, and where it is not.
    let other = cluster.nodes().find(|node| node.id() != owner.id()).unwrap();
    let v4 = (200..230).map(|last| IpAddr::from([192, 168, 50, last]));
    let v6 = (0x200..0x220).map(|last| IpAddr::from([0xfd00, 0x50, 0, 0, 0, 0, 0, last]));
    let mut vips: Vec<IpAddr> = v4.chain(v6).chain(remote.addresses.iter().copied()).chain(local.addresses).collect();
    vips.sort();
    vips.dedup();
    let at_router = cluster.router().log_routes().unwrap();
    let from = Instant::now();
    let _proxies = [&owner, &other].map(|node| service_proxy(node, &vips));
    tokio::time::sleep(SETTLE_TIME).await;
    restart_agents(&cluster).await;

    // A Service gets the first free of them, and a node answers for it.
    let dual = json!({"ipFamilyPolicy": "RequireDualStack"});
    let _new = Applied::yaml(&cluster, &service_object("ipvs-new", &[], &dual).to_string());
    let addresses = cluster.service_addresses("default", "ipvs-new", 2).await.unwrap();
    assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.168.50.200", "fd00:50::200"]);
    let watched = Watched::<2>::new(&cluster, addresses.try_into().unwrap());
    let macs: Vec<_> = cluster.nodes().map(|node| node.mac()).collect();
    watched.answered_by(|found| found.iter().all(|mac| macs.contains(mac))).await;

    local.assert_only(owner.mac(), from);
    let changes = at_router.about(&remote.addresses);
    assert!(changes.is_empty(), "the router's routes changed: {changes:?}");
    let group = object(&cluster, &["servicegroup", "default", "--namespace", NAMESPACE]);
    let conditions = group["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let reserved = |condition: &Value| {
        condition["type"] == "ReservedAddresses"
            && condition["message"].as_str().is_some_and(|text| text.contains("192.168.50.2"))
    };
    assert!(!conditions.iter().any(reserved), "{conditions:?}");
}
