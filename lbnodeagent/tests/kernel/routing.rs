//! BIRD 1.6, the routing software that Calico uses, sees the routes of the remote addresses.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use api_types::AddressAttributes;
use kube::runtime::watcher::Event;
use lbnodeagent::cluster::input::Input;
use lbnodeagent::kernel::netlink::requests::Kernel;
use lbnodeagent::model::address::AddressKey;
use lbnodeagent::model::operation::{Entry, Operation, Purpose};
use lbnodeagent::model::placement::{Kind, Placement};
use serde_json::Value;

use crate::node::{Node, interfaces};
use crate::objects::{endpoints_of, service, service_group, slice};
use crate::support::{cidrs, eventually, in_namespace, ip};

/// A BIRD of one family that imports the networks connected to `kube-lb0`. It learns of changes from notifications
/// only, because it scans once in ten minutes.
struct Bird {
    process: Child,
    directory: PathBuf,
}

impl Bird {
    async fn start(program: &str) -> Self {
        let id = format!("{program}-{}-{:?}", std::process::id(), std::thread::current().id());
        let directory = std::env::temp_dir().join(format!("lbnodeagent-{id}"));
        std::fs::create_dir_all(&directory).unwrap();
        let (configuration, log) = (directory.join("conf"), directory.join("log"));
        let text = format!(
            "log \"{}\" all;\n\
             router id 192.0.2.1;\n\
             protocol device {{ scan time 600; }}\n\
             protocol direct {{ interface \"kube-lb0\"; debug {{ routes }}; }}\n",
            log.display()
        );
        std::fs::write(&configuration, text).unwrap();
        let process = Command::new(program)
            .arg("-f")
            .args([std::ffi::OsStr::new("-c"), configuration.as_os_str()])
            .args([std::ffi::OsStr::new("-s"), directory.join("socket").as_os_str()])
            .args([std::ffi::OsStr::new("-P"), directory.join("pid").as_os_str()])
            .spawn()
            .unwrap_or_else(|error| panic!("{program} of the package bird is needed: {error}"));
        let bird = Self { process, directory };
        eventually("BIRD is up", || bird.ask("show status").contains("Daemon is up and running")).await;
        bird
    }

    fn ask(&self, question: &str) -> String {
        let socket = self.directory.join("socket");
        let output = Command::new("birdc").args(["-r", "-s"]).arg(socket).args(question.split(' ')).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The destinations that it would advertise to its neighbours.
    fn routes(&self) -> Vec<String> {
        let text = self.ask("show route");
        let lines = text.lines().filter(|line| line.contains("dev kube-lb0"));
        let mut routes: Vec<String> = lines.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
        routes.sort();
        routes
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

/// Also when the test fails.
impl Drop for Bird {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        if let Err(error) = ended.and_then(|_| std::fs::remove_dir_all(&self.directory)) {
            eprintln!("clean-up: {error}");
        }
    }
}

/// Three Services have addresses of one aggregated prefix, another has a host route. In whichever order they are
/// deleted, the route of the prefix stays as long as one of the three is left.
async fn check_aggregated_route(program: &str, subnet: &str, addresses: [&str; 3], host: &str) {
    let bird = Bird::start(program).await;
    let range = format!("{}-{}", addresses[0], addresses[2]);
    let all = [
        service_group("wide", "remote", &range, subnet, "default"),
        service_group(
            "host",
            "remote",
            &format!("{host}-{host}"),
            subnet,
            if host.contains(':') { "/128" } else { "/32" },
        ),
    ];
    let bits = if host.contains(':') { 128 } else { 32 };
    let mut both = vec![format!("{host}/{bits}"), subnet.to_owned()];
    both.sort_unstable();
    let services = addresses.map(|address| service(&format!("s{address}"), &[address]));
    let node = Node::with(&all, &services).await;
    node.apply(&service("host", &[host])).await;
    eventually("BIRD has the routes", || bird.routes() == both).await;
    // In each order: the primary address of the prefix is the first one.
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        for gone in &order[..2] {
            node.delete(&services[*gone]).await;
            let withdrawn =
                || !cidrs("kube-lb0").iter().any(|cidr| cidr.starts_with(&format!("{}/", addresses[*gone])));
            eventually("withdrawn", withdrawn).await;
            eventually("BIRD has the routes", || bird.routes() == both).await;
            // A later notification would have changed the routes by now.
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(bird.routes(), both, "without {}: {}", addresses[*gone], bird.log());
        }
        node.delete(&services[order[2]]).await;
        eventually("the route is withdrawn with the last one", || bird.routes() == [format!("{host}/{bits}")]).await;
        for service in &services {
            node.apply(service).await;
        }
        eventually("all are back", || cidrs("kube-lb0").len() == 4 && bird.routes() == both).await;
    }
    // Two at once, one of them the primary one.
    node.delete(&services[0]).await;
    node.delete(&services[1]).await;
    eventually("two withdrawn", || cidrs("kube-lb0").len() == 2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bird.routes(), both, "{}", bird.log());
    // The agent itself has added addresses again to keep the route. That does not count as a repair.
    assert!(node.metrics().contains("purelb_lbnodeagent_address_repairs_total 0\n"), "{}", node.metrics());
    // A restart of the agent changes no route.
    let before = bird.log().lines().count();
    node.stop().await;
    let node = Node::with(&all, &[services[2].clone(), service("host", &[host])]).await;
    eventually("ready", || node.readiness.get().is_ok()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bird.log().lines().skip(before).collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn bird_keeps_the_route_of_an_aggregated_prefix() {
    in_namespace(|| async {
        interfaces();
        check_aggregated_route("bird", "10.9.0.0/16", ["10.9.0.1", "10.9.0.2", "10.9.0.3"], "10.9.7.7").await;
    });
}

/// Puts addresses onto `kube-lb0` as a release without host routes did.
fn put_by_earlier_release(addresses: &[&str], prefix_len: u8) {
    let mut kernel = Kernel::open().unwrap();
    let index = kernel.dump().unwrap().index_of("kube-lb0").unwrap();
    let put = |address: &&str| {
        let key = AddressKey { ip: address.parse().unwrap(), index, prefix_len };
        let attributes = AddressAttributes::REMOTE;
        let placement = Placement { kind: Kind::Remote, key, aggregate: None, attributes };
        Operation::Put(Entry::ours(&placement), Purpose::Add)
    };
    let results = kernel.apply(&addresses.iter().map(put).collect::<Vec<_>>()).unwrap();
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// Two Services under the policy `Local` in a group with an aggregate: routers get the aggregate and a host route for each.
/// An agent of a release without host routes has left them with the prefix of the aggregate.
async fn check_host_routes(program: &str, subnet: &str, addresses: [&str; 2], anchor: Option<&str>) {
    let bird = Bird::start(program).await;
    let (bits, length) = (if anchor.is_some() { 128 } else { 32 }, subnet.split('/').nth(1).unwrap());
    ip("link set kube-lb0 up");
    put_by_earlier_release(&addresses, length.parse().unwrap());
    eventually("BIRD has the aggregate", || bird.routes() == [subnet]).await;
    let group = service_group("wide", "remote", &format!("{}-{}", addresses[0], addresses[1]), subnet, "default");
    let services = addresses.map(|address| {
        let mut service = service(&format!("s{}", address.replace([':', '.'], "-")), &[address]);
        service["spec"]["externalTrafficPolicy"] = "Local".into();
        service
    });
    let name = |service: &Value| service["metadata"]["name"].as_str().unwrap().to_owned();
    let node = Node::start().await;
    node.deliver_lists(&[group], &services).await;
    let expected = |hosts: &[&str]| {
        let mut all: Vec<String> = hosts.iter().map(|host| format!("{host}/{bits}")).collect();
        all.extend((!hosts.is_empty()).then(|| subnet.to_owned()));
        all.sort_unstable();
        all
    };
    // Already while the endpoints are not known.
    eventually("BIRD has the host routes", || bird.routes() == expected(&addresses)).await;
    for service in &services {
        for address_type in ["IPv4", "IPv6"] {
            let endpoints = slice(&endpoints_of(&name(service), address_type, &["n1"]));
            node.send(Input::Slice(Event::InitApply(endpoints))).await;
        }
    }
    node.send(Input::Slice(Event::InitDone)).await;
    node.wait_until_idle().await;
    assert_eq!(bird.routes(), expected(&addresses), "{}", bird.log());
    assert!(anchor.is_some() || !bird.log().contains("removed"), "no IPv4 address was taken off: {}", bird.log());
    // Whoever removes the aggregate alone does not get far.
    let aggregate = anchor.unwrap_or(addresses[0]);
    ip(&format!("address del {aggregate}/{length} dev kube-lb0"));
    eventually("repaired", || {
        cidrs("kube-lb0").contains(&format!("{aggregate}/{length}")) && bird.routes() == expected(&addresses)
    })
    .await;
    // The endpoints of one Service move away.
    for address_type in ["IPv4", "IPv6"] {
        node.apply_object(&endpoints_of(&name(&services[0]), address_type, &["n2"])).await;
    }
    eventually("one host route goes", || bird.routes() == expected(&addresses[1..])).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(bird.routes(), expected(&addresses[1..]), "{}", bird.log());
    node.delete(&services[1]).await;
    eventually("nothing is left", || bird.routes().is_empty() && cidrs("kube-lb0").is_empty()).await;
}

#[test]
fn case_83_bird_has_host_routes_beside_the_aggregate() {
    in_namespace(|| async {
        interfaces();
        check_host_routes("bird", "10.9.0.0/16", ["10.9.0.1", "10.9.0.2"], None).await;
    });
}

#[test]
fn case_83_bird6_has_host_routes_beside_the_aggregate() {
    in_namespace(|| async {
        interfaces();
        let addresses = ["2001:db8:9::1", "2001:db8:9::2"];
        check_host_routes("bird6", "2001:db8:9::/64", addresses, Some("2001:db8:9::")).await;
    });
}

/// systemd turns `promote_secondaries` on for every interface, and the agent turns it off for its dummy interface.
#[test]
fn bird_keeps_it_where_secondary_addresses_are_promoted() {
    in_namespace(|| async {
        interfaces();
        for scope in ["all", "default", "kube-lb0"] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{scope}/promote_secondaries"), "1").unwrap();
        }
        check_aggregated_route("bird", "10.9.0.0/16", ["10.9.0.1", "10.9.0.2", "10.9.0.3"], "10.9.7.7").await;
    });
}

#[test]
fn bird6_keeps_the_route_of_an_aggregated_prefix() {
    in_namespace(|| async {
        interfaces();
        let addresses = ["2001:db8:9::1", "2001:db8:9::2", "2001:db8:9::3"];
        check_aggregated_route("bird6", "2001:db8:9::/64", addresses, "2001:db8:9::77").await;
    });
}
