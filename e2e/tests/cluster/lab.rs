//! The lab itself, which the other tests take for granted.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use e2e::{
    Cluster, Error, Family, HostId, Node, eventually,
    testing::{Applied, DEADLINE, EchoNamespace, wait_for_next_hops},
};

use ipnetwork::IpNetwork;

/// Calico objects for ranges that no other test uses, after the pattern of the seed.
const CALICO: &str = r#"
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: {name: lab-ipv4}
spec: {cidr: 172.31.77.0/24, disabled: true}
---
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: {name: lab-ipv6}
spec: {cidr: "2001:db8:77::/64", disabled: true}
---
apiVersion: crd.projectcalico.org/v1
kind: BGPConfiguration
metadata: {name: default}
spec:
  asNumber: 4200000101
  nodeToNodeMeshEnabled: false
  communities: [{name: lab, value: "100:7"}]
  prefixAdvertisements:
  - {cidr: 172.31.77.0/24, communities: [lab, undefined, "100:100"]}
  - {cidr: "2001:db8:77::/64", communities: [lab, undefined, "100:100"]}
"#;

const V4: &str = "172.31.77.155/32";
const V6: &str = "2001:db8:77::1/128";

/// Adds an address to kube-lb0 as an agent would, or takes it away.
fn announce(node: &Node, action: &str, address: &str) {
    if node.exec(&["ip", "link", "show", "kube-lb0"]).is_err() {
        node.exec(&["ip", "link", "add", "kube-lb0", "type", "dummy"]).unwrap();
        node.exec(&["ip", "link", "set", "kube-lb0", "up"]).unwrap();
    }
    node.exec(&["ip", "addr", action, address, "dev", "kube-lb0"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calicos_objects_decide_what_the_router_learns() {
    let cluster = Cluster::shared().await.unwrap();
    let (first, second) = (cluster.node(1), cluster.node(2));
    let _by_hand = ByHand([&first, &second]);
    for address in [V4, V6] {
        announce(&first, "add", address);
    }
    announce(&second, "add", V4);
    let calico = Applied::yaml(&cluster, CALICO);

    let [v4, v6] = [V4, V6].map(|prefix| prefix.parse::<IpNetwork>().unwrap());
    wait_for_next_hops(&cluster, v4.ip(), [&first, &second]).await;
    wait_for_next_hops(&cluster, v6.ip(), [&first]).await;
    for prefix in [v4, v6] {
        let route = cluster.router().route(prefix).unwrap().unwrap();
        assert_eq!(route.communities, BTreeSet::from(["100:7".to_owned(), "100:100".to_owned()]));
    }
    let hops = [first.id().ipv4().into(), second.id().ipv4().into()];
    // What is only in the BGP table is of no use to a client.
    eventually(DEADLINE, "both next hops in the kernel of the router", async || {
        let routes = cluster.router().kernel_routes(Family::V4).map_err(|error| error.to_string())?;
        let gateways = routes.iter().find(|route| route.destination == Some(v4)).map(e2e::KernelRoute::gateways);
        if gateways == Some(hops.into()) { Ok(()) } else { Err(format!("{routes:?}")) }
    })
    .await
    .unwrap();

    announce(&second, "del", V4);
    wait_for_next_hops(&cluster, v4.ip(), [&first]).await;
    drop(calico);
    for prefix in [v4, v6] {
        wait_for_next_hops(&cluster, prefix.ip(), None::<Node>).await;
    }
}

/// The nodes that got addresses by hand, which go when this does, also after a failure.
struct ByHand<'a>([&'a e2e::Node; 2]);

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        for node in self.0 {
            for address in [V4, V6] {
                // One that is not there is as it should be.
                let _ = node.exec(&["ip", "address", "del", address, "dev", "kube-lb0"]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_loses_power_is_silent_and_comes_back_with_its_pods() {
    let cluster = Cluster::shared().await.unwrap();
    let space = EchoNamespace::new(&cluster, "power");
    let (node, client) = (cluster.node(3), cluster.client());
    let address = IpAddr::from(node.id().ipv4());
    assert_eq!(client.arp(address).unwrap(), Some(node.mac()));
    assert_eq!(client.arp(node.id().ipv6().into()).unwrap(), Some(node.mac()));

    node.power_off().unwrap();
    assert!(!node.is_running());
    assert!(matches!(node.exec(&["true"]), Err(Error::NotRunning { .. })));
    assert_eq!(client.arp(address).unwrap(), None);
    node.power_off().unwrap();

    node.power_on().unwrap();
    assert_eq!(client.arp(address).unwrap(), Some(node.mac()));
    cluster.nodes_ready(DEADLINE).await.unwrap();
    space.kubectl(&["rollout", "status", "--timeout=60s", "deployment/echo"]);
    cluster.peered(DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_ways_to_lose_the_network() {
    let cluster = Cluster::shared().await.unwrap();
    let (node, client) = (cluster.node(2), cluster.client());
    let address = IpAddr::from(node.id().ipv4());
    let carrier = || node.exec(&["cat", "/sys/class/net/eth0/carrier"]).unwrap().trim() == "1";
    let monitor = client.monitor(address).unwrap();
    let silent_while = |off: &dyn Fn(), on: &dyn Fn()| {
        let before = Instant::now();
        off();
        assert_eq!(client.arp(address).unwrap(), None);
        on();
        // Answers come again, and the gap is as long as the silence.
        assert_eq!(client.arp(address).unwrap(), Some(node.mac()));
        let (_, gap) = monitor.so_far().since(before).longest_gap();
        assert!(gap > Duration::from_millis(900), "{gap:?}");
    };

    silent_while(
        &|| {
            node.cut().unwrap();
            assert!(!carrier());
        },
        &|| node.join().unwrap(),
    );
    silent_while(
        &|| {
            node.isolate().unwrap();
            assert!(carrier());
        },
        &|| node.rejoin().unwrap(),
    );
    let routes = |family| node.kernel_routes(family).unwrap().len();
    let before = (routes(Family::V4), routes(Family::V6), node.addresses("eth0").unwrap().len());
    silent_while(&|| node.unplug().unwrap(), &|| node.plug().unwrap());
    eventually(DEADLINE, "addresses and routes as before", async || {
        let now = (routes(Family::V4), routes(Family::V6), node.addresses("eth0").unwrap().len());
        if now == before { Ok(()) } else { Err(format!("{now:?} instead of {before:?}")) }
    })
    .await
    .unwrap();

    let undisturbed = Instant::now();
    eventually(DEADLINE, "an answer to almost every question of a second", async || {
        let answers = monitor.so_far().since(undisturbed).answers().count();
        if answers > 500 { Ok(()) } else { Err(format!("{answers} answers")) }
    })
    .await
    .unwrap();
    let observed = monitor.stop().unwrap();
    assert_eq!(observed.macs(), BTreeSet::from([node.mac()]));
    assert_eq!((observed.changes().len(), observed.overlap()), (0, Duration::ZERO));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_api_server_answers_nothing_until_it_is_thawed() {
    let cluster = Cluster::shared().await.unwrap();
    cluster.control_plane().pause_api().unwrap();
    let frozen = cluster.kubectl(&["get", "--raw", "/version", "--request-timeout=1s"]);
    cluster.control_plane().resume_api().unwrap();
    frozen.unwrap_err();
    cluster.kubectl(&["get", "--raw", "/version", "--request-timeout=10s"]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_use_the_api_server_and_show_their_logs() {
    let cluster = Cluster::shared().await.unwrap();
    let space = EchoNamespace::new(&cluster, "pod-access");
    // TLS of this kind is too much for busybox, but a connection is what matters.
    let connect = "/busybox nc -w 2 $KUBERNETES_SERVICE_HOST 443 </dev/null && echo open";
    let output = space.kubectl(&["exec", "deployment/echo", "--", "/busybox", "sh", "-c", connect]);
    assert_eq!(output.trim(), "open");
    space.kubectl(&["logs", "deployment/echo"]);
    let node = cluster.node(1);
    assert_eq!(node.processes("echo").unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_sees_its_own_files_and_the_client_both_networks() {
    let cluster = Cluster::shared().await.unwrap();
    for host in cluster.hosts() {
        assert_eq!(host.exec(&["uname", "-n"]).unwrap().trim(), host.name());
        host.exec(&["touch", &format!("/run/{}", host.name())]).unwrap();
        assert!(!std::path::Path::new("/run").join(host.name()).exists(), "{} writes on the machine", host.name());
    }
    let node = cluster.node(1);
    assert_eq!(node.exec(&["hostname"]).unwrap().trim(), "node1");
    assert!(matches!(cluster.host(HostId::Node(9)).exec(&["true"]), Err(Error::NotRunning { .. })));
    let via_router = cluster.client().exec(&["ip", "route", "get", "172.31.77.155"]).unwrap();
    assert!(via_router.contains("via 192.168.60.1 dev eth1"), "{via_router}");
}
