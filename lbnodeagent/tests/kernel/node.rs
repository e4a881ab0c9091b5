//! An agent on a node of its own: real kernel, cluster by hand.

use std::time::Duration;

use futures::FutureExt;
use kube::runtime::watcher::Event;
use lbnodeagent::agent::{Agent, Outside, Settings};
use lbnodeagent::cluster::input::Input;
use lbnodeagent::cluster::lease::LeaseView;
use lbnodeagent::cluster::node::NodeView;
use lbnodeagent::report::lease::content::Content;
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

use crate::objects::{agent, endpoints, from, group, kind, slice, view};
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

/// The network of a node, with a gateway that answers; `eth0` is plugged into it, and `kube-lb0` is there.
pub struct Lan(pub Far);

impl Lan {
    pub async fn new() -> Self {
        let lan = Self(Far::new());
        lan.plug("02:00:00:00:00:0a").await;
        add_dummy("kube-lb0");
        lan
    }

    /// Plugs an `eth0` in that has the node's addresses and default routes, and returns when it works.
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
    _leases: watch::Receiver<Option<Content>>,
    registry: Registry,
    queue: EventQueue,
    events: EventReceiver,
}

impl Node {
    /// Starts an agent that knows nothing of the cluster yet.
    pub async fn start() -> Self {
        Self::start_with(Duration::from_secs(180)).await
    }

    /// Starts an agent whose addresses outlive it by so long.
    pub async fn start_with(stop_grace: Duration) -> Self {
        let registry = Registry::new();
        let (queue, events) = EventQueue::new(&registry).unwrap();
        let (inputs, received) = mpsc::channel(1024);
        let (lease, leases) = watch::channel(None);
        let (requests, requested) = mpsc::channel(4);
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let outside = Outside {
            client: nowhere().await,
            events: queue.clone(),
            metrics: Metrics::new(&registry).unwrap(),
            readiness: readiness.clone(),
            inputs: inputs.clone(),
            lease,
            bfd: lbnodeagent::bfd::settings::channel().0,
        };
        let settings = Settings {
            node: "n1".to_owned(),
            stop_grace,
            run_dir: run_dir(),
            gossip_port: 7475,
            probe_interval: ownership::this_node::PROBE_INTERVAL,
        };
        let agent = Agent::new(settings, outside).unwrap();
        let running = Task::spawn(agent.run(received, requested, stop.clone()));
        Self { inputs, readiness, requests, stop, running, _leases: leases, registry, queue, events }
    }

    /// Starts an agent whose first lists are these.
    pub async fn with(groups: &[Value], services: &[Value]) -> Self {
        let node = Self::start().await;
        node.lists(groups, services).await;
        node
    }

    /// Every watch delivers its first list.
    pub async fn lists(&self, groups: &[Value], services: &[Value]) {
        for group in groups {
            self.send(Input::Group(Event::InitApply(Box::new(self::group(group))))).await;
        }
        for service in services {
            self.send(Input::Service(Event::InitApply(view(service)))).await;
        }
        self.listed().await;
    }

    /// Every watch delivers its first list, in which are these objects.
    pub async fn lists_of(&self, objects: &[Value]) {
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
        self.listed().await;
        if objects.iter().any(|object| kind(object) == "EndpointSlice") {
            self.send(Input::Slice(Event::InitDone)).await;
        }
    }

    /// An object is created or changed.
    pub async fn applied(&self, object: &Value) {
        self.send(match kind(object) {
            "ServiceGroup" => Input::Group(Event::Apply(Box::new(group(object)))),
            "LBNodeAgent" => Input::Agent(Event::Apply(Box::new(from(object)))),
            "Service" => Input::Service(Event::Apply(view(object))),
            "EndpointSlice" => Input::Slice(Event::Apply(slice(object))),
            other => panic!("{other} is not watched"),
        })
        .await;
    }

    /// An object is deleted.
    pub async fn deleted(&self, object: &Value) {
        self.send(match kind(object) {
            "ServiceGroup" => Input::Group(Event::Delete(Box::new(group(object)))),
            "LBNodeAgent" => Input::Agent(Event::Delete(Box::new(from(object)))),
            "Service" => Input::Service(Event::Delete(view(object))),
            "EndpointSlice" => Input::Slice(Event::Delete(slice(object))),
            other => panic!("{other} is not watched"),
        })
        .await;
    }

    async fn listed(&self) {
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

    /// The first list of slices: a Service's ready endpoints on these nodes.
    pub async fn endpoints(&self, service: &str, nodes: &[&str]) {
        self.send(Input::Slice(Event::InitApply(slice(&endpoints(service, nodes))))).await;
        self.send(Input::Slice(Event::InitDone)).await;
    }

    pub async fn configure(&self, spec: Value) {
        self.send(Input::Agent(Event::Apply(agent(&spec)))).await;
    }

    /// The LBNodeAgent of the first list; to be followed by [`Self::lists`].
    pub async fn first_agent(&self, spec: &Value) {
        self.send(Input::Agent(Event::InitApply(agent(spec)))).await;
    }

    /// The Lease of another node with this address.
    pub async fn peer(&self, name: &str, address: &str) {
        let place: ipnetwork::IpNetwork = address.parse().unwrap();
        let place = ::ownership::InterfaceAddress::new(place.ip(), place.prefix()).unwrap();
        let view = LeaseView {
            node: name.to_owned(),
            subnets: vec![place.subnet],
            places: vec![place],
            macs: Vec::new(),
            endpoints: vec![(place.address, 7475).into()],
            renewed: Some(jiff::Timestamp::now()),
            duration: Duration::from_secs(10),
        };
        self.send(Input::Lease(Event::Apply(view))).await;
    }

    /// Waits until `/state` says something of an address.
    pub async fn says(&self, what: &str, ip: &str, holds: impl Fn(&lbnodeagent::report::state::AddressEntry) -> bool) {
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
    pub async fn has_subnets(&self, expected: &[&str]) {
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

    /// Waits until all it was told is carried out.
    pub async fn settles(&self) {
        eventually("inputs taken", || self.inputs.capacity() == self.inputs.max_capacity()).await;
        // An agent answers after it has done what follows from what it took.
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

    /// The reasons of the events since the last call.
    pub fn events(&mut self) -> Vec<&'static str> {
        self.told().into_iter().map(|(reason, _)| reason).collect()
    }

    /// The events since the last call: reason and text.
    pub fn told(&mut self) -> Vec<(&'static str, String)> {
        let waiting = std::iter::from_fn(|| self.events.recv().now_or_never().flatten());
        waiting.map(|(_, event)| (event.reason, event.note)).collect()
    }

    /// Forgets the events until now, and that they were said: otherwise the queue would only count what is said again.
    pub fn forgets(&mut self) {
        self.queue.forget();
        self.events();
    }

    /// Waits until one of these is said; [`Self::forgets`] comes before what makes it be said.
    pub async fn tells(&mut self, reasons: &[&str]) {
        eventually(&format!("an event {reasons:?}"), || self.events().iter().any(|reason| reasons.contains(reason)))
            .await;
    }

    /// Waits until one of these is said, or something is said again, of which the queue only counts how often.
    pub async fn hears(&mut self, reasons: &[&str], repeated_before: u64) {
        eventually(&format!("an event {reasons:?}"), || {
            self.events().iter().any(|reason| reasons.contains(reason)) || self.repeated() > repeated_before
        })
        .await;
    }

    /// Forgets the events until now; returns what [`Self::hears`] is to be told.
    pub fn events_so_far(&mut self) -> u64 {
        self.events();
        self.repeated()
    }

    /// How many events were not queued because the same had been said before.
    pub fn repeated(&self) -> u64 {
        let metrics = self.metrics();
        let count = metrics.lines().find_map(|line| line.strip_prefix(r#"purelb_events_total{outcome="repeated"} "#));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// A graceful stop.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.running.join().await.unwrap();
    }

    /// As by `kill -9`.
    pub fn kill(self) {
        drop(self);
    }
}

/// A client of an API server that is not there.
async fn nowhere() -> kube::Client {
    let path = kubeconfig();
    let client = runtime::client::connect(Some(&path), "test").await.unwrap();
    std::fs::remove_file(&path).unwrap();
    client
}

/// How to reach an API server that is not there.
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
