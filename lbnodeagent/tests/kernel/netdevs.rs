//! Interfaces that stand for others or belong to them: VRFs, bonds and VLANs, on a kernel that has them.

use std::time::Duration;

use api_types::Family;
use lbnodeagent::kernel::netlink::monitor::Monitor;
use lbnodeagent::kernel::netlink::requests::Kernel;
use lbnodeagent::kernel::packet::frames::announcement;
use lbnodeagent::kernel::packet::socket::PacketSocket;
use lbnodeagent::model::observed::Change;
use nix::net::if_::if_nametoindex;
use serde_json::json;

use crate::nics::{
    LOCALS, MACS, MAIN, MGMT, SUBNETS, VRF, announced, answers, known_at, local_is_in, lost, misled, plug, readdress,
    route, said, subnets, switch, vrf,
};
use crate::node::{LOCAL, Lan, Node, REMOTE, local_is_on, local_is_there, works};
use crate::objects::{groups, service, service_group};
use crate::support::{Far, add_dummy, addresses, cidrs, eventually, in_namespace, ip, ip_batch, try_ip};
use crate::uml::{Part, in_guest, load};
use crate::wire::addr;

const PARTS: &[Part] = &[
    ("the main table comes before a VRF", the_main_table_comes_before_a_vrf),
    ("a VRF has the only way out", a_vrf_has_the_only_way_out),
    ("a NIC goes into a VRF and out again", a_nic_goes_into_a_vrf_and_out_again),
    ("IPv6 addresses that stay when a NIC goes into a VRF", ipv6_addresses_that_stay_when_a_nic_goes_into_a_vrf),
    ("a bond, whichever of its NICs works", a_bond_whichever_of_its_nics_works),
    ("a NIC goes into a bond", a_nic_goes_into_a_bond),
    ("a VLAN, and not the network below it", a_vlan_and_not_the_network_below_it),
];

/// The kernels of small virtual machines often lack these types, so this test brings one that has them.
#[test]
fn vrfs_bonds_and_vlans() {
    in_guest("netdevs::vrfs_bonds_and_vlans", PARTS);
}

/// The rows of the test `a_route_into_a_vrf_is_no_way_to_an_interface`, in both families: the kernel shows what that
/// test takes for granted.
fn the_main_table_comes_before_a_vrf() {
    load(&["ipv6", "veth", "dummy", "vrf", "bonding", "8021q", "bridge"]);
    in_namespace(|| async {
        let lan = Lan::new().await;
        vrf();
        let other = Far::new();
        plug("eth1", MACS[1], "far", &other);
        other.run(|| ip_batch("address add 10.1.0.1/24 dev far\naddress add fd00:1::1/64 dev far nodad\n"));
        ip_batch(
            "link set eth1 master mgmt\n\
             address add 10.1.0.11/24 dev eth1\n\
             address add fd00:1::11/64 dev eth1 nodad\n\
             route add default via 10.1.0.1 dev eth1 table 10\n\
             route add default via fd00:1::1 dev eth1 table 10\n\
             route replace default via 192.168.50.1 dev eth0 metric 100\n\
             route del default via 192.168.50.1 dev eth0 metric 0\n\
             route add default dev mgmt\n\
             route add ::/0 dev mgmt metric 1\n",
        );
        eventually("a link", || works("eth1")).await;
        let kernel = Kernel::open().unwrap().dump().unwrap();
        let index = |name| kernel.index_of(name).unwrap();
        let link = &kernel.links[&index("mgmt")];
        assert!(link.works() && !link.resolves && kernel.links[&index("eth1")].resolves, "{link:?}");
        for family in Family::ALL {
            let mut routes: Vec<_> = kernel.routes.iter().filter(|route| route.family == family).collect();
            routes.sort_by_key(|route| (route.table != MAIN, route.metric));
            let found: Vec<_> = routes.iter().map(|route| (route.index, route.table)).collect();
            assert_eq!(found, [(index("mgmt"), MAIN), (index("eth0"), MAIN), (index("eth1"), VRF)], "{family:?}");
        }

        let mut all = groups();
        all.extend([
            service_group("mgmt4", "local", "10.1.0.200-10.1.0.210", "10.1.0.0/24", "default"),
            service_group("mgmt6", "local", "fd00:1::f000/116", "fd00:1::/64", "default"),
            service_group("wide", "remote", "10.1.7.0/24", "10.1.0.0/16", "default"),
        ]);
        let services =
            [service("routed", REMOTE), service("local", LOCAL), service("mgmt", MGMT), service("wide", &["10.1.7.7"])];
        misled(&lan.0, "far");
        let mut node = Node::with(&all, &services).await;
        said(&node, "eth0").await;
        known_at(MACS[0], &lan.0, "far").await;
        answers(MACS[0], &lan.0, "far").await;
        subnets(&node, &SUBNETS[0]).await;
        // What is not ours, in the VRF and on its device.
        let own = ["10.1.0.11/24", "fd00:1::11/64"];
        let untouched = || addresses("mgmt").iter().any(|line| line.contains("127.0.0.1/8"));
        let without = async |addresses: &[&str], interface| {
            for ip in addresses {
                node.says("not here", ip, |address| !address.announced && address.reason == "noLocalInterface").await;
            }
            eventually("withdrawn", || cidrs(interface).len() == 2).await;
        };
        without(MGMT, "eth1").await;
        assert!(untouched() && cidrs("eth1") == own);
        // The VRF's network is the host's too: only an administrator can know that no packet crosses.
        node.says("refused", "10.1.7.7", |address| address.reason == "refused").await;

        // Now the only way out of the main table is into the VRF.
        ip_batch("route del default via 192.168.50.1 dev eth0 metric 100\nroute del ::/0 dev eth0\n");
        subnets(&node, &SUBNETS[1]).await;
        for ip in MGMT {
            node.says("in the VRF", ip, |address| address.announced && address.interface.as_deref() == Some("eth1"))
                .await;
        }
        without(LOCAL, "eth0").await;
        assert!(untouched() && own.iter().all(|own| cidrs("eth1").contains(&(*own).to_owned())));
        route("eth0", MAIN);
        // In the place of the route into the VRF, which is IPv4's for its metric, and beside it.
        said(&node, "eth0").await;
        without(MGMT, "eth1").await;
        assert!(untouched() && cidrs("eth1") == own);
        // By name, a port is as good as any, and the VRF's own device is part of no network.
        node.configure(json!({"local": {"localInterface": "eth1|mgmt"}})).await;
        subnets(&node, &SUBNETS[1]).await;
        let text = "10.1.7.7/16 on the dummy interface would overlap network 10.1.0.0/24 of eth1";
        let told = node.told();
        assert!(told.iter().any(|(reason, said)| *reason == "AnnouncementFailed" && said.contains(text)), "{told:#?}");
    });
}

fn a_vrf_has_the_only_way_out() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        vrf();
        ip("link set eth0 master mgmt");
        readdress("eth0");
        route("eth0", VRF);
        // IPv6 shows whether ours have connected routes of their own: the node's address has none.
        ip("address change fd00:50::11/64 dev eth0 noprefixroute");
        let connected = |table: u32| try_ip(&format!("-6 route show fd00:50::/64 table {table}")).1;
        misled(&lan.0, "far");
        let node = announced("eth0").await;
        known_at(MACS[0], &lan.0, "far").await;
        subnets(&node, &SUBNETS[0]).await;
        eventually("in the VRF", || local_is_in(VRF)).await;
        answers(MACS[0], &lan.0, "far").await;
        assert!(connected(VRF).is_empty());
        node.configure(json!({"local": {"addressConfig": {"localInterface": {"noPrefixRoute": false}}}})).await;
        eventually("a route", || connected(VRF).contains("fd00:50::/64 dev eth0")).await;
        assert!(connected(MAIN).is_empty() && !local_is_in(LOCALS) && local_is_there());
    });
}

/// A NIC that goes into a VRF or out of it is down for a moment: the kernel drops its routes and its IPv6 addresses,
/// and moves the rest to the other table.
fn a_nic_goes_into_a_vrf_and_out_again() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        vrf();
        let node = announced("eth0").await;
        assert!(local_is_in(LOCALS));
        let mut monitor = Monitor::open().unwrap();
        for (order, here, before) in [("master mgmt", VRF, LOCALS), ("nomaster", LOCALS, VRF)] {
            ip(&format!("link set eth0 {order}"));
            node.says("without its network", LOCAL[1], |address| !address.announced).await;
            readdress("eth0");
            route("eth0", if here == VRF { VRF } else { MAIN });
            eventually(order, || local_is_there() && local_is_in(here)).await;
            said(&node, "eth0").await;
            assert!(!local_is_in(before));
            subnets(&node, &SUBNETS[0]).await;
            eventually("a link", || works("eth0")).await;
            answers(MACS[0], &lan.0, "far").await;
        }
        // IPv4 addresses outlive that, ours too, and remote ones are not concerned.
        let lost = lost(&mut monitor);
        assert!(!lost.iter().any(|ip| ip == LOCAL[0] || REMOTE.contains(&ip.as_str())), "{lost:?}");
    });
}

/// With `keep_addr_on_down` the node's own ones do, which are for ever, and ours do not.
fn ipv6_addresses_that_stay_when_a_nic_goes_into_a_vrf() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        std::fs::write("/proc/sys/net/ipv6/conf/eth0/keep_addr_on_down", "1").unwrap();
        vrf();
        let mut node = announced("eth0").await;
        let told = node.events_so_far();
        let mut monitor = Monitor::open().unwrap();
        ip("link set eth0 master mgmt");
        // Though no default route leads there yet: none leads anywhere else.
        let took = eventually("repaired", || local_is_there() && local_is_in(VRF)).await;
        eprintln!("repaired after {took:?}");
        node.hears(&["AddressRepaired", "AnnouncingLocal"], told).await;
        let lost = lost(&mut monitor);
        assert!(lost.iter().any(|ip| ip == LOCAL[1]) && !lost.iter().any(|ip| ip == "fd00:50::11"), "{lost:?}");
        route("eth0", VRF);
        said(&node, "eth0").await;
        subnets(&node, &SUBNETS[0]).await;
        answers(MACS[0], &lan.0, "far").await;
    });
}

/// Of two NICs, one of which works at a time, and whose hardware address the bond then has.
fn a_bond_whichever_of_its_nics_works() {
    in_namespace(|| async {
        let lan = switch();
        ip_batch(
            "link add bond0 type bond mode active-backup miimon 20 fail_over_mac active\n\
             link set eth0 down\nlink set eth0 master bond0\n\
             link set eth1 down\nlink set eth1 master bond0\n\
             link set bond0 up\n",
        );
        readdress("bond0");
        route("bond0", MAIN);
        eventually("a link", || works("bond0")).await;
        misled(&lan, "far");
        let node = announced("bond0").await;
        known_at(MACS[0], &lan, "far").await;
        subnets(&node, &SUBNETS[0]).await;
        let mut monitor = Monitor::open().unwrap();
        for (broken, whole, mac) in [("far0", "far1", MACS[1]), ("far1", "far0", MACS[0])] {
            lan.run(move || ip_batch(&format!("link set {whole} up\nlink set {broken} down\n")));
            known_at(mac, &lan, "far").await;
            answers(mac, &lan, "far").await;
            said(&node, "bond0").await;
        }
        assert!(cidrs("eth0").is_empty() && cidrs("eth1").is_empty());
        assert_eq!(lost(&mut monitor), Vec::<String>::new());
    });
}

/// Below a bond the NIC is up again, with the IPv4 addresses that nobody took away, before the way out is the bond's.
/// Nobody hears its questions then, and what it says may lead the switch astray: it is no place for ours.
fn a_nic_goes_into_a_bond() {
    in_namespace(|| async {
        let lan = switch();
        ip_batch(
            "link add bond0 type bond mode active-backup miimon 20\n\
             link set eth1 down\nlink set eth1 master bond0\nlink set bond0 up\n",
        );
        readdress("eth0");
        route("eth0", MAIN);
        eventually("links", || works("bond0") && works("eth0")).await;
        let node = announced("eth0").await;
        answers(MACS[0], &lan, "far").await;
        let mut monitor = Monitor::open().unwrap();
        ip_batch("link set eth0 down\nlink set eth0 master bond0\n");
        eventually("below the bond", || ip("link show eth0").contains("SLAVE,UP,LOWER_UP")).await;
        // Long enough for whoever would take it for a place again.
        tokio::time::sleep(Duration::from_millis(200)).await;
        for ip in LOCAL {
            node.says("nowhere", ip, |address| address.reason == "noLocalInterface").await;
        }
        readdress("bond0");
        misled(&lan, "far");
        route("bond0", MAIN);
        eventually("moved", || local_is_on("bond0") && cidrs("eth0") == ["192.168.50.11/24"]).await;
        said(&node, "bond0").await;
        known_at(MACS[1], &lan, "far").await;
        let below = if_nametoindex("eth0").unwrap();
        let placed = |change: &Change| matches!(change, Change::Address(key, _) if key.index == below && key.ip == addr(LOCAL[0]));
        assert!(!monitor.read().changes.iter().any(placed));
        ip("address flush dev eth0 scope global");
        answers(MACS[1], &lan, "far").await;
        subnets(&node, &SUBNETS[0]).await;
        // It has the place of the other now.
        lan.run(|| ip("link set far1 down"));
        eventually("eth0 works", || ip("-details link show bond0").contains("active_slave eth0")).await;
        answers(MACS[1], &lan, "far").await;
        assert!(local_is_on("bond0"));
    });
}

fn a_vlan_and_not_the_network_below_it() {
    in_namespace(|| async {
        let lan = Far::new();
        plug("eth0", MACS[0], "far", &lan);
        lan.run(|| {
            ip_batch(
                "link add link far name far.10 type vlan id 10\nlink set far.10 up\n\
                 address add 192.168.50.1/24 dev far.10\naddress add fd00:50::1/64 dev far.10 nodad\n",
            );
        });
        ip_batch(
            "link add link eth0 name eth0.10 type vlan id 10\nlink set eth0.10 up\n\
             address add 10.1.0.11/24 dev eth0\naddress add fd00:1::11/64 dev eth0 nodad\n",
        );
        add_dummy("kube-lb0");
        readdress("eth0.10");
        route("eth0.10", MAIN);
        eventually("a link", || works("eth0.10")).await;
        misled(&lan, "far.10");
        let mut node = announced("eth0.10").await;
        known_at(MACS[0], &lan, "far.10").await;
        answers(MACS[0], &lan, "far.10").await;
        subnets(&node, &SUBNETS[0]).await;
        assert_eq!(cidrs("eth0"), ["10.1.0.11/24", "fd00:1::11/64"]);
        // Somebody else may have the same addresses in the other network, which counts too then, and not in this one.
        node.configure(json!({"local": {"interfaces": ["eth0"]}})).await;
        let mut both = SUBNETS.concat();
        both.sort_unstable();
        subnets(&node, &both).await;
        let claims = |last: u8, end: &'static str| {
            lan.run(move || {
                let (socket, index) = (PacketSocket::open().unwrap(), if_nametoindex(end).unwrap());
                for frame in LOCAL.iter().flat_map(|ip| announcement(addr(ip), [2, 0, 0, 0, 0, last], None)) {
                    socket.send(index, &frame).unwrap();
                }
            });
        };
        claims(0x0c, "far");
        answers(MACS[0], &lan, "far.10").await;
        claims(0x0d, "far.10");
        // The second would not be told soon after the first.
        let mut told = Vec::new();
        eventually("conflicts", || {
            told.extend(node.told().into_iter().filter(|(reason, _)| *reason == "AddressConflict"));
            told.len() == LOCAL.len()
        })
        .await;
        assert!(told.iter().all(|(_, text)| text.contains("02:00:00:00:00:0d")), "{told:#?}");
    });
}
