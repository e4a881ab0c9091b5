//! The index and real gRPC over a real socket, with a sidecar that misbehaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::ipam::example::Example;
use ::ipam::message::{
    AllocateRequest, AllocateResponse, AllocatedIP, FamilyRequest, ReleaseRequest, ReleaseResponse, Selector,
    StatsRequest, StatsResponse,
};
use ::ipam::server::{Ipam, serve};
use ::ipam::{SERVICE, Status};
use prometheus::Registry;
use runtime::{BootTime, Task};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};

use super::api_server::ApiServer;
use super::replica::Replica;
use crate::edge::SidecarClient;
use crate::metrics::Metrics;

/// How long a call may take here.
const DEADLINE: Duration = Duration::from_millis(300);

/// What it does with calls other than Stats.
#[derive(Debug, Clone)]
enum Behavior {
    Normal,
    Hangs,
    Refuses(Status),
    Gives(Vec<String>),
}

struct Misbehaving {
    inner: Example,
    behavior: Mutex<Behavior>,
}

impl Misbehaving {
    fn set(&self, behavior: Behavior) {
        *self.behavior.lock().unwrap() = behavior;
    }

    fn behavior(&self) -> Behavior {
        self.behavior.lock().unwrap().clone()
    }
}

impl Ipam for Misbehaving {
    async fn allocate(&self, request: AllocateRequest) -> Result<AllocateResponse, Status> {
        match self.behavior() {
            Behavior::Normal => self.inner.allocate(request).await,
            Behavior::Hangs => std::future::pending().await,
            Behavior::Refuses(status) => Err(status),
            Behavior::Gives(texts) => {
                Ok(AllocateResponse { ips: texts.into_iter().map(|ip| AllocatedIP { ip }).collect() })
            }
        }
    }

    async fn release(&self, request: ReleaseRequest) -> Result<ReleaseResponse, Status> {
        match self.behavior() {
            Behavior::Hangs => std::future::pending().await,
            Behavior::Refuses(status) => Err(status),
            Behavior::Normal | Behavior::Gives(_) => self.inner.release(request).await,
        }
    }

    async fn stats(&self, request: StatsRequest) -> Result<StatsResponse, Status> {
        match self.behavior() {
            Behavior::Hangs => std::future::pending().await,
            _ => self.inner.stats(request).await,
        }
    }
}

/// A sidecar on a socket; it ends with all its connections when this is dropped, as a process does.
struct Running {
    misbehaving: Arc<Misbehaving>,
    runtime: Option<Runtime>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The directory of one test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("purelb-ipam-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("ipam.sock")
    }

    async fn run(&self) -> Running {
        let pools = BTreeMap::from([("ext".to_owned(), vec!["192.0.2.0/29".parse().unwrap()])]);
        let inner = Example::new(pools, Some(self.0.join("allocations"))).unwrap();
        let misbehaving = Arc::new(Misbehaving { inner, behavior: Mutex::new(Behavior::Normal) });
        let (socket, served) = (self.socket(), misbehaving.clone());
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move { serve(&socket, served, std::future::pending()).await.unwrap() });
        while UnixStream::connect(self.socket()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Running { misbehaving, runtime: Some(runtime) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A replica with a client for sidecars.
struct Bench {
    server: ApiServer,
    replica: Replica,
    client: SidecarClient,
    registry: Registry,
}

impl Bench {
    fn new(socket: &Path) -> Self {
        let mut server = ApiServer::default();
        server.put_group("ext", &json!({"external": {"provider": "Acme", "socket": socket, "announce": "local"}}));
        server.put_group("own", &json!({"local": {"v4pool": {"pool": "10.1.0.0/24", "subnet": "10.1.0.0/24"}}}));
        let replica = Replica::leader(&mut server, true, "f1");
        let registry = Registry::new();
        let client = SidecarClient::new(DEADLINE, Metrics::new(&registry).unwrap().sidecars);
        Self { server, replica, client, registry }
    }

    fn put(&mut self, name: &str, group: &str) {
        let spec = json!({"ipFamilies": ["IPv4"], "ports": [{"port": 80}]});
        self.server.put_service(name, spec, json!({"purelb.io/service-group": group}));
    }

    /// Works until everything that can be done now is done.
    async fn settle(&mut self) {
        loop {
            self.replica.settle(&mut self.server);
            let Some(call) = self.replica.index.next_call(BootTime::now()) else { return };
            let begin = Instant::now();
            let (call, answer) = self.client.send(call).await;
            assert!(begin.elapsed() < DEADLINE * 3, "{call:?} took {:?}", begin.elapsed());
            self.replica.index.call_answered(&call, &answer, BootTime::now());
        }
    }

    async fn later(&mut self, milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        self.settle().await;
    }

    fn has(&self, name: &str) -> String {
        let addresses: Vec<String> = self.server.addresses(name).iter().map(ToString::to_string).collect();
        addresses.join(",")
    }

    fn condition(&mut self) -> Value {
        self.replica.group_status("ext")["conditions"][0].clone()
    }

    /// Calls with this outcome, by the metric.
    fn calls(&self, method: &str, code: &str) -> f64 {
        let families = self.registry.gather();
        let calls = families.iter().find(|family| family.name() == "purelb_allocator_sidecar_rpc_total").unwrap();
        let wanted = [("code", code.to_owned()), ("method", format!("/{SERVICE}/{method}"))];
        let found = calls.get_metric().iter().find(|metric| {
            let labels = metric.get_label();
            wanted.iter().all(|(name, value)| labels.iter().any(|it| it.name() == *name && it.value() == value))
        });
        found.map_or(0.0, |metric| metric.get_counter().get_value())
    }
}

#[tokio::test]
async fn addresses_come_over_the_socket() {
    let place = Place::new("fine");
    let running = place.run().await;
    let mut bench = Bench::new(&place.socket());
    bench.put("web", "ext");
    bench.settle().await;
    assert_eq!(bench.has("web"), "192.0.2.0");
    assert_eq!(bench.condition()["status"], "True");
    let status = bench.replica.group_status("ext");
    assert_eq!((&status["availableIPv4"], &status["addresses"]), (&json!(7), &json!(["192.0.2.0-192.0.2.7"])));
    assert!(bench.calls("Allocate", "OK") > 0.5 && bench.calls("Stats", "OK") > 0.5);
    bench.server.delete_service("web");
    bench.settle().await;
    assert!(running.misbehaving.inner.allocations()["ext"].is_empty());
}

#[tokio::test]
async fn requests_say_who_asks() {
    let place = Place::new("owners");
    let running = place.run().await;
    let mut bench = Bench::new(&place.socket());
    bench.put("web", "ext");
    bench.settle().await;
    let allocations = running.misbehaving.inner.allocations();
    let owner = allocations["ext"].keys().next().unwrap();
    let uid = bench.server.services["web"]["metadata"]["uid"].as_str().unwrap();
    assert_eq!((&*owner.cluster, &*owner.service, &*owner.uid), ("here", "shop/web", uid));
    // Another cluster has a Service of the same name.
    let theirs = AllocateRequest {
        pool: "ext".to_owned(),
        service: "shop/web".to_owned(),
        cluster: "there".to_owned(),
        service_uid: uid.to_owned(),
        selector: Some(Selector::Families(FamilyRequest { want_ipv4: true, want_ipv6: false })),
        ..AllocateRequest::default()
    };
    let given = running.misbehaving.inner.allocate(theirs).await.unwrap();
    assert_eq!(given.ips[0].ip, "192.0.2.1");
    bench.server.delete_service("web");
    bench.settle().await;
    let left: Vec<String> =
        running.misbehaving.inner.allocations()["ext"].keys().map(|owner| owner.cluster.clone()).collect();
    assert_eq!(left, ["there"]);
}

#[tokio::test]
async fn what_a_sidecar_does_not_know_is_given_back() {
    let place = Place::new("unknown");
    let running = place.run().await;
    let mut bench = Bench::new(&place.socket());
    bench.put("web", "ext");
    bench.settle().await;
    running.misbehaving.set(Behavior::Refuses(Status::not_found("who?")));
    bench.server.delete_service("web");
    bench.settle().await;
    assert_eq!(bench.replica.group_status("ext")["pendingReleases"], Value::Null);
    assert!(!bench.replica.take_reports().join("\n").contains("ReleaseFailed"));
}

#[tokio::test]
async fn a_missing_sidecar_is_reported_and_found_when_it_starts() {
    let place = Place::new("absent");
    let mut bench = Bench::new(&place.socket());
    bench.put("web", "ext");
    bench.put("other", "own");
    bench.settle().await;
    assert_eq!((bench.has("web"), bench.has("other")), (String::new(), "10.1.0.1".to_owned()));
    let reports = bench.replica.take_reports().join("\n");
    assert!(reports.contains("AllocationFailed") && reports.contains("No such file or directory"), "{reports}");
    let condition = bench.condition();
    assert_eq!(condition["reason"], "SidecarUnavailable");
    assert!(condition["message"].as_str().unwrap().contains("No such file or directory"), "{condition}");
    assert!(bench.calls("Allocate", "Unavailable") > 0.5);
    let _running = place.run().await;
    bench.later(700).await;
    assert_eq!(bench.has("web"), "192.0.2.0");
    assert_eq!(bench.condition()["status"], "True");
}

#[tokio::test]
async fn a_restarted_sidecar_keeps_its_allocations() {
    let place = Place::new("restart");
    let mut bench = Bench::new(&place.socket());
    {
        let _running = place.run().await;
        bench.put("one", "ext");
        bench.settle().await;
    }
    bench.put("two", "ext");
    bench.settle().await;
    assert_eq!((bench.has("one"), bench.has("two")), ("192.0.2.0".to_owned(), String::new()));
    let _running = place.run().await;
    // The call broke together with the sidecar, and has a pause of its own.
    bench.later(1100).await;
    assert_eq!((bench.has("one"), bench.has("two")), ("192.0.2.0".to_owned(), "192.0.2.1".to_owned()));
}

#[tokio::test]
async fn a_call_to_a_sidecar_that_hangs_ends_in_time() {
    let place = Place::new("hangs");
    let running = place.run().await;
    running.misbehaving.set(Behavior::Hangs);
    let mut bench = Bench::new(&place.socket());
    bench.put("web", "ext");
    bench.put("other", "own");
    bench.settle().await;
    assert_eq!((bench.has("web"), bench.has("other")), (String::new(), "10.1.0.1".to_owned()));
    let reports = bench.replica.take_reports().join("\n");
    assert!(reports.contains("DeadlineExceeded: no answer within 300ms"), "{reports}");
    assert!(bench.calls("Allocate", "DeadlineExceeded") > 0.5);
    running.misbehaving.set(Behavior::Normal);
    bench.later(700).await;
    assert_eq!(bench.has("web"), "192.0.2.0");
}

#[tokio::test]
async fn refusals_and_malformed_answers_are_reported_and_retried() {
    let place = Place::new("refuses");
    let running = place.run().await;
    let mut bench = Bench::new(&place.socket());
    bench.put("holder", "ext");
    bench.settle().await;
    for (number, (behavior, words)) in [
        (Behavior::Refuses(Status::resource_exhausted("full\nhouse")), "ResourceExhausted: full house"),
        (Behavior::Refuses(Status::unimplemented("never")), "Unimplemented: never"),
        (Behavior::Gives(vec![]), "0 addresses"),
        (Behavior::Gives(vec!["192.0.2.300".to_owned()]), "\"192.0.2.300\", which is not an IP address"),
        (Behavior::Gives(vec!["192.0.2.1".to_owned(); 17]), "17 addresses"),
        (Behavior::Gives(vec!["192.0.2.0".to_owned()]), "which another Service has"),
    ]
    .into_iter()
    .enumerate()
    {
        running.misbehaving.set(behavior);
        let name = format!("web-{number}");
        bench.put(&name, "ext");
        bench.settle().await;
        let reports = bench.replica.take_reports().join("\n");
        assert!(reports.contains("AllocationFailed") && reports.contains(words), "{words}: {reports}");
        assert_eq!(bench.has(&name), "");
        // A refusal is an answer all the same.
        assert_eq!(bench.condition()["status"], "True");
    }
    running.misbehaving.set(Behavior::Normal);
    bench.later(2100).await;
    for number in 0..6 {
        assert!(bench.has(&format!("web-{number}")).starts_with("192.0.2."), "{number}");
    }
    assert_eq!(running.misbehaving.inner.allocations()["ext"].len(), 7);
}

#[tokio::test]
async fn a_peer_that_does_not_speak_grpc_counts_as_not_answering_and_is_told() {
    for (name, greeting, words) in [
        ("http", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "speaks HTTP/1"),
        ("tls", &[0x15, 3, 1, 0, 2, 2, 70], "speaks TLS"),
    ] {
        let place = Place::new(name);
        let listener = UnixListener::bind(place.socket()).unwrap();
        let _noise = Task::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // It answers what it does not understand, and the other side hangs up.
                let mut bytes = [0; 64];
                let _ = stream.read(&mut bytes).await;
                let _ = stream.write_all(greeting).await;
                while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
            }
        });
        let mut bench = Bench::new(&place.socket());
        bench.put("web", "ext");
        bench.put("other", "own");
        bench.settle().await;
        assert_eq!((bench.has("web"), bench.has("other")), (String::new(), "10.1.0.1".to_owned()));
        let condition = bench.condition();
        assert_eq!(condition["reason"], "SidecarUnavailable", "{condition}");
        assert!(condition["message"].as_str().unwrap().contains(words), "{condition}");
    }
}

#[tokio::test]
async fn a_socket_that_a_dead_sidecar_left_is_told() {
    let place = Place::new("stale");
    drop(UnixListener::bind(place.socket()).unwrap());
    let mut bench = Bench::new(&place.socket());
    bench.put("web", "ext");
    bench.settle().await;
    let condition = bench.condition();
    assert!(condition["message"].as_str().unwrap().contains("nobody listens on"), "{condition}");
    assert!(bench.replica.take_reports().join("\n").contains("a sidecar that has ended left the file"));
}
