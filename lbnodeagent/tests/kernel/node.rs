//! An agent on a node of its own: the kernel is real, and the test delivers the objects of the cluster.

mod events;

use std::time::Duration;

use kube::runtime::watcher::Event;
use lbnodeagent::agent::{Agent, Outside, Settings};
use lbnodeagent::cluster::input::Input;
use lbnodeagent::cluster::lease::LeaseView;
use lbnodeagent::cluster::node::NodeView;
use lbnodeagent::report::lease::content::Content;
use lbnodeagent::report::lease::entries::Entries;
use lbnodeagent::report::metrics::Metrics;
use lbnodeagent::report::state::NodeState;
use lbnodeagent::report::state::StateRequest;
use prometheus::{Registry, TextEncoder};
use runtime::Task;
use runtime::events::{EventQueue, EventReceiver};
use runtime::server::Readiness;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::objects::{agent, endpoints_of, from, group, kind, slice, view};
use crate::support::{Far, add_dummy, cidrs, eventually, ip, ip_batch, run_dir};

/// Addresses of the remote groups.
pub const REMOTE: &[&str] = &["172.30.200.155", "2001:470:8bf5:2:2::1"];
/// Addresses of the local groups.
pub const LOCAL: &[&str] = &["192.168.50.200", "fd00:50::f000"];

pub fn remote_is_there() -> bool {
    cidrs("kube-lb0") == ["172.30.200.155/32", "2001:470:8bf5:2:2::1/128"]
}

pub fn local_is_there() -> bool {
    local_is_on("eth0")
}

pub fn local_is_on(interface: &str) -> bool {
    let found = cidrs(interface);
    ["192.168.50.200/24", "fd00:50::f000/64"].iter().all(|cidr| found.iter().any(|found| found == cidr))
}

/// The network of a node, with a gateway that answers. The node has `eth0` in it, and `kube-lb0`.
pub struct Lan(pub Far);

impl Lan {
    pub async fn new() -> Self {
        let lan = Self(Far::new());
        lan.plug("02:00:00:00:00:0a").await;
        add_dummy("kube-lb0");
        lan
    }

    /// Adds `eth0` with the node's addresses and default routes, and returns when packets can pass.
    pub async fn plug(&self, mac: &str) {
        ip(&format!("link add eth0 address {mac} type veth peer name far netns {}", self.0.thread));
        self.0.run(|| {
            ip_batch(
                "address add 192.168.50.1/24 dev far\n\
                 address add fd00:50::1/64 dev far nodad\n\
                 link set far up\n",
            );
        });
        ip_batch(
            "link set eth0 up\n\
             address add 192.168.50.11/24 dev eth0\n\
             address add fd00:50::11/64 dev eth0 nodad\n\
             route add default via 192.168.50.1 dev eth0\n\
             route add default via fd00:50::1 dev eth0\n",
        );
        eventually("a link", || works("eth0")).await;
    }
}

/// Whether packets can pass.
pub fn works(interface: &str) -> bool {
    let observed = lbnodeagent::kernel::netlink::requests::Kernel::open().unwrap().dump().unwrap();
    observed.index_of(interface).is_some_and(|index| observed.links[&index].works())
}

/// Sets up the interfaces of a node: `eth0` with a far end and both families, `kube-lb0`.
pub fn interfaces() {
    ip("link add eth0 type veth peer name far");
    ip("link set far up");
    ip("link set eth0 up");
    ip("address add 192.168.50.11/24 dev eth0");
    ip("address add fd00:50::11/64 dev eth0 nodad");
    ip("route add default dev eth0");
    ip("-6 route add default dev eth0");
    add_dummy("kube-lb0");
}

/// A running agent.
pub struct Node {
    pub inputs: mpsc::Sender<Input>,
    pub readiness: Readiness,
    requests: mpsc::Sender<StateRequest>,
    stop: CancellationToken,
    running: Task,
    pub leases: watch::Receiver<Option<Content>>,
    pub entries: watch::Receiver<Entries>,
    registry: Registry,
    queue: EventQueue,
    events: EventReceiver,
}

impl Node {
    /// Starts an agent, without any input from watches.
    pub async fn start() -> Self {
        Self::start_with(Duration::from_secs(180)).await
    }

    /// Starts an agent whose addresses stay for this time after its stop.
    pub async fn start_with(stop_grace: Duration) -> Self {
        let registry = Registry::new();
        let (queue, events) = EventQueue::new(&registry).unwrap();
        let (inputs, received) = mpsc::channel(1024);
        let (lease, leases) = watch::channel(None);
        let (entries, all_entries) = watch::channel(Entries::default());
        let (requests, requested) = mpsc::channel(4);
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let outside = Outside {
            client: nowhere().await,
            events: queue.clone(),
            metrics: Metrics::new(&registry).unwrap(),
            readiness: readiness.clone(),
            inputs: inputs.clone(),
            lease,
            entries,
            bfd: lbnodeagent::bfd::settings::channel().0,
        };
        let settings = Settings {
            node: "n1".to_owned(),
            stop_grace,
            run_dir: run_dir(),
            gossip_port: 7475,
            probe_interval: ownership::this_node::PROBE_INTERVAL,
            frames_per_second: 2000,
            kube_proxy: lbnodeagent::kube_proxy::task::Ports::default(),
        };
        let agent = Agent::new(settings, outside).unwrap();
        let running = Task::spawn(agent.run(received, requested, stop.clone()));
        Self { inputs, readiness, requests, stop, running, leases, entries: all_entries, registry, queue, events }
    }

    /// Starts an agent and delivers these as its first lists.
    pub async fn with(groups: &[Value], services: &[Value]) -> Self {
        let node = Self::start().await;
        node.deliver_lists(groups, services).await;
        node
    }

    /// Delivers the first list of slices: a Service's ready endpoints of both families on these nodes.
    pub async fn deliver_lists(&self, groups: &[Value], services: &[Value]) {
        for group in groups {
            self.send(Input::Group(Event::InitApply(Box::new(self::group(group))))).await;
        }
        for service in services {
            self.send(Input::Service(Event::InitApply(view(service)))).await;
        }
        self.finish_lists().await;
    }

    /// Delivers the first list of slices: a Service's ready endpoints of both families on these nodes.
    pub async fn deliver_lists_of(&self, objects: &[Value]) {
        for object in objects {
            let input = match kind(object) {
                "ServiceGroup" => Input::Group(Event::InitApply(Box::new(group(object)))),
                "LBNodeAgent" => Input::Agent(Event::InitApply(Box::new(from(object)))),
                "Service" => Input::Service(Event::InitApply(view(object))),
                "EndpointSlice" => Input::Slice(Event::InitApply(slice(object))),
                other => panic!("{other} is not watched"),
            };
            self.send(input).await;
        }
        self.finish_lists().await;
        if objects.iter().any(|object| kind(object) == "EndpointSlice") {
            self.send(Input::Slice(Event::InitDone)).await;
        }
    }

    /// Delivers an object of any kind that was created or changed.
    pub async fn apply_object(&self, object: &Value) {
        self.send(match kind(object) {
            "ServiceGroup" => Input::Group(Event::Apply(Box::new(group(object)))),
            "LBNodeAgent" => Input::Agent(Event::Apply(Box::new(from(object)))),
            "Service" => Input::Service(Event::Apply(view(object))),
            "EndpointSlice" => Input::Slice(Event::Apply(slice(object))),
            other => panic!("{other} is not watched"),
        })
        .await;
    }

    /// Delivers the deletion of an object of any kind.
    pub async fn delete_object(&self, object: &Value) {
        self.send(match kind(object) {
            "ServiceGroup" => Input::Group(Event::Delete(Box::new(group(object)))),
            "LBNodeAgent" => Input::Agent(Event::Delete(Box::new(from(object)))),
            "Service" => Input::Service(Event::Delete(view(object))),
            "EndpointSlice" => Input::Slice(Event::Delete(slice(object))),
            other => panic!("{other} is not watched"),
        })
        .await;
    }

    async fn finish_lists(&self) {
        let node = NodeView {
            uid: "u".to_owned(),
            addresses: ["192.168.50.11".parse().unwrap()].into(),
            ..NodeView::default()
        };
        for input in [
            Input::Group(Event::InitDone),
            Input::Agent(Event::InitDone),
            Input::Node(Event::InitApply(node)),
            Input::Node(Event::InitDone),
            Input::Lease(Event::InitDone),
            Input::Keys(Some(::ownership::Keys::new(&[7; 32], None))),
            Input::Service(Event::InitDone),
        ] {
            self.send(input).await;
        }
    }

    pub async fn send(&self, input: Input) {
        self.inputs.send(input).await.unwrap();
    }

    pub async fn apply(&self, service: &Value) {
        self.send(Input::Service(Event::Apply(view(service)))).await;
    }

    pub async fn delete(&self, service: &Value) {
        self.send(Input::Service(Event::Delete(view(service)))).await;
    }

    /// Delivers the first list of slices: a Service's ready endpoints of both families on these nodes.
    pub async fn endpoints(&self, service: &str, nodes: &[&str]) {
        for address_type in ["IPv4", "IPv6"] {
            let endpoints = endpoints_of(service, address_type, nodes);
            self.send(Input::Slice(Event::InitApply(slice(&endpoints)))).await;
        }
        self.send(Input::Slice(Event::InitDone)).await;
    }

    pub async fn configure(&self, spec: Value) {
        self.send(Input::Agent(Event::Apply(agent(&spec)))).await;
    }

    /// Delivers an LBNodeAgent of the first list. [`Self::deliver_lists`] must follow.
    pub async fn deliver_agent(&self, spec: &Value) {
        self.send(Input::Agent(Event::InitApply(agent(spec)))).await;
    }

    /// Delivers the Lease of another node with this address.
    pub async fn peer(&self, name: &str, address: &str) {
        let place: ipnetwork::IpNetwork = address.parse().unwrap();
        let place = ::ownership::InterfaceAddress::new(place.ip(), place.prefix()).unwrap();
        let view = LeaseView {
            node: name.to_owned(),
            subnets: vec![place.subnet],
            places: vec![place],
            own: Vec::new(),
            gateways: Vec::new(),
            macs: Vec::new(),
            report: api_types::lease::Report::default(),
            endpoints: vec![(place.address, 7475).into()],
            proxy: None,
            wire_version: ::ownership::wire::VERSION.into(),
            renewed: Some(jiff::Timestamp::now()),
            duration: Duration::from_secs(10),
        };
        self.send(Input::Lease(Event::Apply(view))).await;
    }

    /// Waits until `/state` has an entry of the address that satisfies a condition.
    pub async fn wait_for_address(
        &self,
        what: &str,
        ip: &str,
        holds: impl Fn(&lbnodeagent::report::state::AddressEntry) -> bool,
    ) {
        let start = std::time::Instant::now();
        loop {
            let state = self.state().await;
            let address = state.addresses.iter().find(|address| address.ip.to_string() == ip);
            if address.is_some_and(&holds) {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}: {address:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until `/state` has these subnets.
    pub async fn wait_for_subnets(&self, expected: &[&str]) {
        let start = std::time::Instant::now();
        loop {
            let subnets = self.state().await.subnets;
            if subnets == expected {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {expected:?}: {subnets:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the agent has handled all inputs.
    pub async fn wait_until_idle(&self) {
        eventually("inputs taken", || self.inputs.capacity() == self.inputs.max_capacity()).await;
        // The agent answers after it has finished the pass for the inputs that it has taken.
        self.state().await;
    }

    pub async fn state(&self) -> NodeState {
        let (sender, receiver) = oneshot::channel();
        self.requests.send(sender).await.unwrap();
        receiver.await.unwrap()
    }

    pub fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap()
    }

    /// Stops the agent gracefully.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.running.join().await.unwrap();
    }

    /// Ends the agent as `kill -9` does.
    pub fn kill(self) {
        drop(self);
    }
}

/// A client of an API server that does not exist.
async fn nowhere() -> kube::Client {
    let path = kubeconfig();
    let client = runtime::client::connect(Some(&path), "test").await.unwrap();
    std::fs::remove_file(&path).unwrap();
    client
}

/// Writes a kubeconfig for an API server that does not exist.
pub fn kubeconfig() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!(
        "lbnodeagent-{}-{:?}.kubeconfig",
        std::process::id(),
        std::thread::current().id()
    ));
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}]
    });
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}
