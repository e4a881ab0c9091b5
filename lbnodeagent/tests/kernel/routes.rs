//! Which routes are noticed, and which ones wake nobody.

use std::collections::BTreeSet;
use std::time::Duration;

use lbnodeagent::kernel::netlink::monitor::Monitor;
use lbnodeagent::kernel::netlink::requests::Kernel;
use lbnodeagent::model::observed::{Change, Observed};
use tokio::time::timeout;

use crate::node::works;
use crate::support::{eventually, in_namespace, ip, ip_batch};

/// Two interfaces with neighbours, about which there is nothing more to say, and what the kernel has then.
async fn two_nics() -> (Monitor, Kernel, Observed) {
    std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap();
    ip_batch(
        "link add eth0 type veth peer name far0\n\
         link add eth1 type veth peer name far1\n\
         link set eth0 up\nlink set far0 up\nlink set eth1 up\nlink set far1 up\n\
         address add 192.0.2.1/24 dev eth0\n\
         address add 198.51.100.1/24 dev eth1\n\
         address add 2001:db8::1/64 dev eth0 nodad\n\
         address add 2001:db8:1::1/64 dev eth1 nodad\n",
    );
    eventually("links", || works("eth0") && works("eth1")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (mut monitor, mut kernel) = (Monitor::open().unwrap(), Kernel::open().unwrap());
    let observed = kernel.dump().unwrap();
    heard(&mut monitor).await;
    (monitor, kernel, observed)
}

/// What comes until nothing comes for a moment.
async fn heard(monitor: &mut Monitor) -> Vec<Change> {
    let mut changes = Vec::new();
    while timeout(Duration::from_millis(100), monitor.wait()).await.is_ok() {
        changes.extend(monitor.read().changes);
    }
    changes
}

/// Applies what comes until nothing comes for a moment.
async fn catch_up(monitor: &mut Monitor, observed: &mut Observed) {
    for change in heard(monitor).await {
        observed.apply(change);
    }
}

fn networks(observed: &Observed) -> Vec<String> {
    observed.on_link.iter().filter(|route| !route.by_kernel).map(|route| route.network.to_string()).collect()
}

/// The interfaces of the default routes.
fn default_interfaces(observed: &Observed) -> BTreeSet<&str> {
    observed.routes.iter().map(|route| observed.name_of(route.index)).collect()
}

#[test]
fn on_link_routes_are_noticed_and_others_wake_nobody() {
    in_namespace(|| async {
        let (mut monitor, mut kernel, mut observed) = two_nics().await;
        ip_batch(
            "route add 10.0.0.7/32 dev eth1\n\
             route add 10.1.0.0/16 via 192.0.2.254\n\
             route add 10.2.0.0/16 nexthop via 192.0.2.254 nexthop via 198.51.100.254\n\
             route add 10.3.0.0/16 dev eth1 table 100\n\
             route add 8.0.0.0/7 dev eth1\n\
             route add blackhole 10.4.0.0/16\n\
             route add 2001:db8:7::7/128 dev eth1\n\
             route add 2001:db8:8::/48 via 2001:db8::2\n\
             route add fe80:1::/64 dev eth1\n\
             route add fe80::/64 dev eth1 metric 7\n\
             route add 2000::/3 dev eth1\n",
        );
        assert!(timeout(Duration::from_millis(150), monitor.wait()).await.is_err(), "{:?}", monitor.read());
        ip_batch("route add 10.9.0.0/16 dev eth1\nroute add 2001:db8:9::/64 dev eth1 proto ra\n");
        catch_up(&mut monitor, &mut observed).await;
        assert_eq!(networks(&observed), ["10.9.0.0/16", "2001:db8:9::/64"]);
        assert!(observed.differences(&kernel.dump().unwrap()).is_empty());
        ip_batch("route replace 10.9.0.0/16 dev eth0\nroute del 2001:db8:9::/64 dev eth1\n");
        catch_up(&mut monitor, &mut observed).await;
        assert_eq!(networks(&observed), ["10.9.0.0/16"]);
        assert!(observed.differences(&kernel.dump().unwrap()).is_empty());
        // The kernel drops IPv4 routes without a notification.
        ip("address del 192.0.2.1/24 dev eth0");
        catch_up(&mut monitor, &mut observed).await;
        assert!(networks(&observed).is_empty());
        assert!(observed.differences(&kernel.dump().unwrap()).is_empty());
    });
}

#[test]
fn every_next_hop_of_a_default_route_is_noticed() {
    in_namespace(|| async {
        let (mut monitor, mut kernel, mut observed) = two_nics().await;
        let both: BTreeSet<&str> = ["eth0", "eth1"].into();
        for (family, hops) in [("", ["192.0.2.254", "198.51.100.254"]), ("-6", ["2001:db8::2", "2001:db8:1::2"])] {
            let [one, other] = hops;
            let by_hops = format!("nexthop via {one} dev eth0 nexthop via {other} dev eth1");
            ip_batch(&format!(
                "nexthop add id 1 via {one} dev eth0\nnexthop add id 2 via {other} dev eth1\nnexthop add id 10 group 1/2\n"
            ));
            for route in [by_hops.as_str(), "nhid 10"] {
                ip(&format!("{family} route add default {route}"));
                catch_up(&mut monitor, &mut observed).await;
                assert_eq!(default_interfaces(&observed), both, "{family} {route}");
                assert_eq!(default_interfaces(&kernel.dump().unwrap()), both, "{family} {route}");
                ip(&format!("{family} route del default {route}"));
                catch_up(&mut monitor, &mut observed).await;
                assert!(observed.routes.is_empty(), "{family} {route}: {:?}", observed.routes);
            }
            ip_batch("nexthop del id 10\nnexthop del id 1\nnexthop del id 2\n");
            // Another route in the place of several next hops.
            ip(&format!("{family} route add default {by_hops}"));
            ip(&format!("{family} route replace default via {one} dev eth0"));
            catch_up(&mut monitor, &mut observed).await;
            if family.is_empty() {
                assert_eq!(default_interfaces(&observed), ["eth0"].into());
            }
            ip(&format!("{family} route del default"));
            observed = kernel.dump().unwrap();
            heard(&mut monitor).await;
        }
    });
}
