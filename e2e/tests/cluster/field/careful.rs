//! Being careful never takes an address away that works, and never touches what is another program's.

use std::net::IpAddr;
use std::time::Instant;

use e2e::{
    Cluster, NAMESPACE, Node, SpareLink,
    testing::{
        Applied, SETTLE_TIME, Undo, Watched, WithoutAllocator, delete_events, installed, nodes_with, object,
        overwrite_status, restart_agents, service_object, wait_for_event,
    },
};
use serde_json::{Value, json};

use crate::{failover::local_service::LocalService, field::announced::Announced};

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

#[tokio::test(flavor = "multi_thread")]
async fn annotations_removed_while_no_allocator_runs_and_all_agents_restart_withdraw_nothing() {
    let cluster = installed().await;
    let announced = Announced::new(&cluster, "unmarked-remote", "unmarked").await;
    let stopped = WithoutAllocator::new(&cluster).await;
    announced.without_our_annotations();
    restart_agents(&cluster).await;
    announced.assert_undisturbed();
    drop(stopped);
    cluster.installation_ready().unwrap();
    announced.marked().await;
    announced.assert_undisturbed();
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
    let announced = Announced::new(&cluster, "ipvs-remote", "ipvs").await;
    let Announced { local, remote, owner, .. } = &announced;
    // Where the address is announced, and where it is not.
    let other = cluster.nodes().find(|node| node.id() != owner.id()).unwrap();
    let v4 = (200..230).map(|last| IpAddr::from([192, 168, 50, last]));
    let v6 = (0x200..0x220).map(|last| IpAddr::from([0xfd00, 0x50, 0, 0, 0, 0, 0, last]));
    let mut vips: Vec<IpAddr> = v4.chain(v6).chain(remote.addresses.iter().copied()).chain(local.addresses).collect();
    vips.sort();
    vips.dedup();
    let _proxies = [owner, &other].map(|node| service_proxy(node, &vips));
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

    announced.assert_undisturbed();
    let group = object(&cluster, &["servicegroup", "default", "--namespace", NAMESPACE]);
    let conditions = group["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let reserved = |condition: &Value| {
        condition["type"] == "ReservedAddresses"
            && condition["message"].as_str().is_some_and(|text| text.contains("192.168.50.2"))
    };
    assert!(!conditions.iter().any(reserved), "{conditions:?}");
}
