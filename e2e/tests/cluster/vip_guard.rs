//! The VIP guard beside a real kube-proxy: what addresses of Services let in, and what happens to clients that are early.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use e2e::{
    Cluster, Host, Node, Signal, eventually,
    testing::{Applied, DEADLINE, EchoNamespace, ROUTED_GROUPS, Undo, installed, node_agent_yaml, object},
};

/// How long a client tries. TCP repeats its first segment after 1 s and after 3 s.
const PATIENCE: Duration = Duration::from_secs(6);
/// Within which most clients are connected beside a kube-proxy that syncs once a second: with their second segment. Where a
/// sync takes longer than that, a client needs its third.
const SOON: Duration = Duration::from_millis(1500);
/// Services that appear at once.
const SERVICES: usize = 100;

/// How a connection ended, and after which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Connected(Duration),
    Refused,
    Silence,
}

impl Outcome {
    const fn is_connected(self) -> bool {
        matches!(self, Self::Connected(_))
    }
}

fn connect_within(host: &Host, address: IpAddr, port: u16, patience: Duration) -> Outcome {
    let start = Instant::now();
    let connect = || TcpStream::connect_timeout(&SocketAddr::new(address, port), patience);
    match host.in_network(connect).unwrap() {
        Ok(_) => Outcome::Connected(start.elapsed()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Outcome::Refused,
        Err(error) if error.kind() == ErrorKind::TimedOut => Outcome::Silence,
        Err(error) => panic!("{address}:{port}: {error}"),
    }
}

fn connect(host: &Host, address: IpAddr, port: u16) -> Outcome {
    connect_within(host, address, port, Duration::from_millis(500))
}

/// Waits until every node guards this many addresses at least.
async fn guarded(cluster: &Cluster, addresses: u64) {
    for node in cluster.nodes() {
        eventually(DEADLINE, format!("{addresses} guarded addresses on {}", node.name()), async || {
            let state: serde_json::Value =
                serde_json::from_str(&node.agent_page("/state").map_err(|error| error.to_string())?).unwrap();
            let guard = &state["guard"];
            let enough = guard["addresses"].as_u64().is_some_and(|count| count >= addresses);
            if enough { Ok(()) } else { Err(guard.to_string()) }
        })
        .await
        .unwrap();
    }
}

/// Stops kube-proxy on every node until this is dropped.
fn late_proxies<'a>(cluster: &Cluster) -> Vec<Undo<'a>> {
    let stop = |node: Node| {
        let pid = node.service_pid("kube-proxy").unwrap();
        node.kill(pid, Signal::SIGSTOP).unwrap();
        Undo::new(move || node.kill(pid, Signal::SIGCONT))
    };
    cluster.nodes().map(stop).collect()
}

/// Makes Services, connects to each as soon as its address shows, and returns after which time each client was connected.
async fn early_clients(late: bool) -> Vec<Duration> {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "early");
    space.service("first", &[("purelb.io/service-group", "ipv4-routed")], &[]);
    let first = space.addresses("first", 1).await[0];
    space.answers(first).await;
    guarded(&cluster, 1).await;
    // A group of its own: the sample's has six addresses.
    let _group = Applied::yaml(
        &cluster,
        "{apiVersion: purelb.io/v2, kind: ServiceGroup, metadata: {name: early, namespace: purelb}, \
         spec: {local: {v4pools: [{pool: 192.168.50.101-192.168.50.220, subnet: 192.168.50.0/24}]}}}",
    );
    let stopped = late.then(|| late_proxies(&cluster));
    let started = Instant::now();
    let document = |nth: usize| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: early-{nth}\n  namespace: early\n  \
             annotations: {purelb}\nspec:\n  type: LoadBalancer\n  allocateLoadBalancerNodePorts: false\n  \
             selector: {{app: echo}}\n  ports: [{{port: 80, targetPort: 8080}}]\n",
            purelb = "{purelb.io/service-group: early}"
        )
    };
    if late {
        cluster.apply(&(0..SERVICES).map(document).collect::<Vec<_>>().join("---\n")).unwrap();
    }
    let mut clients = Vec::new();
    for nth in 0..SERVICES {
        if !late {
            cluster.apply(&document(nth)).unwrap();
        }
        let address = space.addresses(&format!("early-{nth}"), 1).await[0];
        let client = cluster.client();
        clients.push(thread::spawn(move || connect_within(&client, address, 80, PATIENCE)));
    }
    if let Some(stopped) = stopped {
        thread::sleep(Duration::from_secs(1));
        drop(stopped);
        eprintln!("kube-proxy stood still for {:?}", started.elapsed());
    }
    let outcomes: Vec<Outcome> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    let refused = outcomes.iter().filter(|outcome| **outcome == Outcome::Refused).count();
    let mut times: Vec<Duration> = outcomes
        .iter()
        .filter_map(|outcome| if let Outcome::Connected(time) = outcome { Some(*time) } else { None })
        .collect();
    times.sort();
    eprintln!("{refused} refused, {} connected, times {:?} to {:?}", times.len(), times.first(), times.last());
    assert_eq!((refused, times.len()), (0, SERVICES));
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_connect_as_soon_as_the_address_shows_are_not_refused() {
    let times = early_clients(false).await;
    let soon = times.iter().filter(|time| **time < SOON).count();
    assert!(soon >= SERVICES * 9 / 10, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_are_they_while_kube_proxy_stands_still() {
    early_clients(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_node_is_reached_through_the_addresses_of_services() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "closed");
    space.service("web", &[("purelb.io/service-group", ROUTED_GROUPS)], &[("ipFamilyPolicy", "RequireDualStack")]);
    space.service("policy", &[("purelb.io/service-group", "ipv4-routed")], &[("externalTrafficPolicy", "Local")]);
    let mut addresses = space.addresses("web", 2).await;
    addresses.extend(space.addresses("policy", 1).await);
    for address in &addresses {
        space.answers(*address).await;
    }
    guarded(&cluster, 3).await;
    let port = |service: &str, pointer: &str| -> u16 {
        let service = object(&cluster, &["--namespace", "closed", "service", service]);
        service.pointer(pointer).and_then(serde_json::Value::as_u64).and_then(|port| port.try_into().ok()).unwrap()
    };
    let health = port("policy", "/spec/healthCheckNodePort");
    let closed = [10_250, 7472, port("web", "/spec/ports/0/nodePort"), health];
    let client = cluster.client();
    for port in closed {
        for address in &addresses {
            assert_eq!(connect(&client, *address, port), Outcome::Silence, "{address}:{port}");
        }
        for node in cluster.nodes() {
            let own = IpAddr::V4(node.id().ipv4());
            assert!(connect(&client, own, port).is_connected(), "{own}:{port}");
        }
    }
    // A node is a client as well, also one that has the address itself.
    for node in cluster.nodes() {
        for address in &addresses {
            assert!(connect(&node, *address, 80).is_connected(), "{address} from {}", node.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_is_a_setting_and_its_table_comes_back() {
    let cluster = installed().await;
    let _seed = Applied::kustomization(&cluster, "manifests/samples/calico");
    let space = EchoNamespace::new(&cluster, "setting");
    space.service("web", &[("purelb.io/service-group", "ipv4-routed")], &[]);
    let address = space.addresses("web", 1).await[0];
    space.answers(address).await;
    guarded(&cluster, 1).await;
    let client = cluster.client();
    assert_eq!(connect(&client, address, 10_250), Outcome::Silence);
    let setting = Applied::yaml(&cluster, &node_agent_yaml(None, "vipGuard: Disabled"));
    let opened = |wanted: bool| {
        let client = client.clone();
        async move || {
            let outcome = connect(&client, address, 10_250);
            if outcome.is_connected() == wanted { Ok(()) } else { Err(format!("{outcome:?}")) }
        }
    };
    eventually(DEADLINE, "the guard is off", opened(true)).await.unwrap();
    drop(setting);
    guarded(&cluster, 1).await;
    assert_eq!(connect(&client, address, 10_250), Outcome::Silence);
    for node in cluster.nodes() {
        node.exec(&["nft", "delete", "table", "inet", "purelb"]).unwrap();
    }
    thread::sleep(Duration::from_secs(1));
    assert_eq!(connect(&client, address, 10_250), Outcome::Silence, "the table is back within a second");
    space.answers(address).await;
}
