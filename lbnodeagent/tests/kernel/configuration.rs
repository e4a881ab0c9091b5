//! Settings of LBNodeAgent and of Services, and what the agent reports about them: events and logs.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lbnodeagent::kernel::packet::listener::Listener;
use nix::net::if_::if_nametoindex;
use ownership::NeighborFrame;
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span;

use crate::node::{LOCAL, Lan, Node, REMOTE, local_is_there, remote_is_there};
use crate::objects::{groups, service};
use crate::support::{addresses, cidrs, eventually, in_namespace, ip, lasts};

/// Waits until `ip` shows a line with all the words.
async fn has(interface: &str, words: &[&str]) {
    let holds = || addresses(interface).iter().any(|line| words.iter().all(|word| line.contains(word)));
    eventually(&format!("{words:?}"), holds).await;
}

/// Waits until `ip` shows a line with all the words and these lifetimes.
async fn has_for(interface: &str, words: &[&str], valid: u32, preferred: u32) {
    let holds = |line: &String| {
        words.iter().all(|word| line.contains(word))
            && lasts(line, "valid", valid)
            && lasts(line, "preferred", preferred)
    };
    eventually(&format!("{words:?} for {valid} s and {preferred} s"), || addresses(interface).iter().any(holds)).await;
}

#[test]
fn addresses_have_the_lifetimes_and_flags_of_the_configuration() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let node = Node::with(&groups(), &[service("routed", REMOTE), service("local", LOCAL)]).await;
        eventually("announced", || remote_is_there() && local_is_there()).await;
        has_for("eth0", &["192.168.50.200/24", "noprefixroute"], 300, 300).await;
        has_for("eth0", &["fd00:50::f000/64", "noprefixroute", "deprecated"], 300, 0).await;
        node.configure(json!({"local": {"addressConfig": {
            "localInterface": {"validLifetime": 600, "preferredLifetime": 100, "noPrefixRoute": false},
            "dummyInterface": {"validLifetime": 7, "noPrefixRoute": true}
        }}}))
        .await;
        has_for("eth0", &["192.168.50.200/24"], 600, 100).await;
        has_for("eth0", &["fd00:50::f000/64", "deprecated"], 600, 0).await;
        has_for("kube-lb0", &["172.30.200.155/32", "noprefixroute"], 60, 60).await;
        has_for("kube-lb0", &["2001:470:8bf5:2:2::1/128", "deprecated", "noprefixroute"], 60, 0).await;
        let without = |line: &String| line.contains("192.168.50.200/24") && !line.contains("noprefixroute");
        eventually("with a route", || addresses("eth0").iter().any(without)).await;
        // The kernel alone would keep the route of an IPv6 address that has a lifetime.
        let routed = || ip("-6 route show dev kube-lb0").contains(REMOTE[1]);
        for no_prefix_route in [false, true] {
            let config = json!({"validLifetime": 600, "noPrefixRoute": no_prefix_route});
            node.configure(json!({"local": {"addressConfig": {"dummyInterface": config}}})).await;
            eventually("with a route, then without", || routed() != no_prefix_route).await;
            assert!(remote_is_there());
        }
        // Permanent.
        node.configure(json!({"local": {"addressConfig": {"localInterface": {"validLifetime": 0}}}})).await;
        has("eth0", &["192.168.50.200/24", "noprefixroute", "valid_lft forever preferred_lft forever"]).await;
        has("eth0", &["fd00:50::f000/64", "valid_lft forever preferred_lft forever"]).await;
        has("kube-lb0", &["172.30.200.155/32", "valid_lft forever"]).await;
        assert!(cidrs("eth0").contains(&"192.168.50.11/24".to_owned()));
    });
}

/// The number of announcements of each local address that arrive at the far end within a time. Questions from an address
/// do not count.
async fn announcements(lan: &Lan, time: Duration, what: impl Future<Output = ()>) -> BTreeMap<String, usize> {
    let here = tokio::runtime::Handle::current();
    let mut listener = lan.0.run(move || {
        let _here = here.enter();
        Listener::open(if_nametoindex("far").unwrap()).unwrap()
    });
    what.await;
    let mut received = BTreeMap::new();
    let listen = async {
        let mut asked = None;
        loop {
            listener.ready().await.unwrap();
            for (_, frame) in listener.receive([2, 0, 0, 0, 0, 0xff]) {
                match frame {
                    // The listener reports the sender of a question too.
                    NeighborFrame::Announcement(address) if asked.take() != Some(address) => {
                        *received.entry(address.to_string()).or_insert(0) += 1;
                    }
                    NeighborFrame::Request { sender, .. } => asked = sender,
                    NeighborFrame::Announcement(_) | NeighborFrame::Reply(_) => {}
                }
            }
        }
    };
    let _over: Result<(), _> = tokio::time::timeout(time, listen).await;
    received.retain(|address, _| LOCAL.contains(&address.as_str()));
    received
}

#[test]
fn announcements_follow_the_configuration() {
    in_namespace(|| async {
        let lan = Lan::new().await;
        let node = Node::start().await;
        let garp = |config: Value| json!({"local": {"garpConfig": config}});
        node.deliver_agent(&garp(json!({"initialDelay": "50ms", "count": 4, "interval": "60ms"}))).await;
        node.deliver_lists(&groups(), &[]).await;
        let put = async |node: &Node| {
            node.apply(&service("local", LOCAL)).await;
            eventually("announced", local_is_there).await;
        };
        let received = announcements(&lan, Duration::from_millis(800), put(&node)).await;
        // IPv4 as a request and as a reply each time.
        let expected = |v4: usize, v6: usize| BTreeMap::from([(LOCAL[0].to_owned(), v4), (LOCAL[1].to_owned(), v6)]);
        assert_eq!(received, expected(8, 4));
        let metrics = node.metrics();
        assert!(metrics.contains("purelb_lbnodeagent_garp_sent_total 4"), "{metrics}");
        assert!(metrics.contains("purelb_lbnodeagent_na_sent_total 4"), "{metrics}");
        node.delete(&service("local", LOCAL)).await;
        eventually("withdrawn", || cidrs("eth0").len() == 2).await;
        node.configure(garp(json!({"enabled": false}))).await;
        let received = announcements(&lan, Duration::from_millis(400), put(&node)).await;
        assert_eq!(received, BTreeMap::new());
    });
}

/// The kernel refuses an IPv4 address if the interface has one of the same network with another scope.
#[test]
fn a_refusal_is_shown_until_the_address_is_there() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        ip("address del 192.168.50.11/24 dev eth0");
        ip("address add 192.168.50.11/24 dev eth0 scope link");
        ip("route replace default via 192.168.50.1 dev eth0");
        let mut node = Node::with(&groups(), &[service("local", LOCAL)]).await;
        let refused = |address: &lbnodeagent::report::state::AddressEntry| {
            !address.announced && address.error.as_deref().is_some_and(|error| error.contains("EINVAL"))
        };
        node.wait_for_address("refused", LOCAL[0], refused).await;
        eventually("an event", || node.event_reasons().contains(&"AnnouncementFailed")).await;
        // Further passes do not clear it.
        for _ in 0..5 {
            node.apply(&service("local", LOCAL)).await;
            node.configure(json!({"local": {}})).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            node.wait_for_address("still refused", LOCAL[0], refused).await;
        }
        node.wait_for_address("the other family", LOCAL[1], |address| address.announced && address.error.is_none())
            .await;
        ip("address del 192.168.50.11/24 dev eth0");
        ip("address add 192.168.50.11/24 dev eth0");
        ip("route replace default via 192.168.50.1 dev eth0");
        node.wait_for_address("accepted", LOCAL[0], |address| address.announced && address.error.is_none()).await;
    });
}

#[test]
fn each_change_is_logged_once_and_nothing_at_rest() {
    in_namespace(|| async {
        let log = Log::begin();
        let _lan = Lan::new().await;
        let mut nobody = service("nobody", &["192.168.50.205"]);
        nobody["spec"]["externalTrafficPolicy"] = json!("Local");
        let elsewhere = crate::objects::service_group("far", "local", "10.77.0.0/24", "10.77.0.0/24", "default");
        let mut all = groups();
        all.push(elsewhere);
        let services =
            [service("routed", &REMOTE[..1]), service("local", &LOCAL[..1]), nobody, service("far", &["10.77.0.1"])];
        let node = Node::with(&all, &services).await;
        node.endpoints("nobody", &[]).await;
        node.wait_for_address("announced", LOCAL[0], |address| address.announced).await;
        node.wait_for_address("announced", REMOTE[0], |address| address.announced).await;
        node.wait_for_address("nobody", "192.168.50.205", |address| address.reason == "noEligibleNodes").await;
        node.wait_for_address("nowhere", "10.77.0.1", |address| address.reason == "noLocalInterface").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let lines = log.take();
        for (word, ip, count) in [
            ("electionWon", LOCAL[0], 1),
            ("announcingNonLocal", REMOTE[0], 1),
            ("noEligibleNodes", "192.168.50.205", 1),
            ("noLocalInterface", "10.77.0.1", 1),
            ("subnetsChanged", "192.168.50.0/24", 1),
        ] {
            let found = lines.iter().filter(|line| line.contains(&format!("event={word} ")) && line.contains(ip));
            assert_eq!(found.count(), count, "{word} {ip}: {lines:#?}");
        }
        // Nothing changes, although Services are delivered again.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        for service in &services {
            node.apply(service).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        // A busy machine lets the agent wait, and it says so.
        let lines: Vec<_> = log.take().into_iter().filter(|line| !line.contains(" op=pause ")).collect();
        assert_eq!(lines, Vec::<String>::new());
        node.delete(&services[0]).await;
        node.delete(&services[1]).await;
        eventually("withdrawn", || cidrs("kube-lb0").is_empty() && cidrs("eth0").len() == 2).await;
        // The agent logs it a moment after the kernel has done it.
        eventually("logged", || log.count("event=withdrawAddress ") == 2).await;
        node.configure(json!({"nodeSelector": {"matchLabels": {"no": "such"}}, "local": {}})).await;
        node.wait_for_address("no configuration", "10.77.0.1", |address| address.reason == "noConfig").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let lines = log.take();
        for ip in [REMOTE[0], LOCAL[0]] {
            let found = lines.iter().filter(|line| {
                line.contains("event=withdrawAddress ") && line.contains(ip) && line.contains("reason=notWanted")
            });
            assert_eq!(found.count(), 1, "{ip}: {lines:#?}");
        }
        assert!(lines.iter().any(|line| line.contains("event=noConfig ")), "{lines:#?}");
    });
}

/// What all threads of this process log from the level `info` on, a line each. A test that uses it therefore needs a
/// process of its own, as nextest gives it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn begin() -> Self {
        let log = Self::default();
        let set = tracing::subscriber::set_global_default(log.clone());
        set.expect("a test that reads the log needs a process of its own");
        log
    }

    /// How many lines there are with this word.
    fn count(&self, word: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.contains(word)).count()
    }

    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        let ours = ["lbnodeagent", "ownership", "runtime"];
        *metadata.level() <= tracing::Level::INFO && ours.iter().any(|name| metadata.target().starts_with(name))
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        // There is no API server in these tests.
        if line.0.contains("op=watch ") {
            return;
        }
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, "{}={value} ", field.name());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }
}
