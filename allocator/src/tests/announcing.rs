//! Addresses that nobody announces: said once, as long as it lasts, and by a leader that knows enough.

use std::time::Duration;

use api_types::Family;
use api_types::lease::{INACTIVE, INSTANCE, REPORT, Refused, Report, SUBNETS};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::api_server::ApiServer;
use super::fixtures::{dual, group, one, start, texts};
use super::replica::{Replica, lease};
use crate::model::{HeldAddresses, Node, ServiceName, Slice};
use crate::state::HeldReports;

const NEAR: &str = "192.168.50.0/24";
const FAR: &str = "192.168.77.0/24";

fn local(pool: &str, subnet: &str) -> Value {
    json!({"local": {"v4pools": [{"pool": pool, "subnet": subnet}]}})
}

fn node(name: &str, address: &str, excluded: bool) -> Node {
    Node { name: name.to_owned(), addresses: vec![address.parse().unwrap()], pod_networks: Vec::new(), excluded }
}

/// The Lease of an agent with further annotations.
fn annotated(node: &str, annotations: &[(&str, &str)]) -> Lease {
    let mut lease = lease(node, NEAR, "");
    let all = lease.metadata.annotations.as_mut().unwrap();
    all.extend(annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    lease
}

/// The Lease of an agent that has stopped.
fn stopped(node: &str) -> Lease {
    let mut lease = lease(node, NEAR, "");
    lease.spec.as_mut().unwrap().lease_duration_seconds = Some(0);
    lease
}

fn policy_local() -> Value {
    let mut spec = one("IPv4");
    spec["externalTrafficPolicy"] = json!("Local");
    spec
}

struct Field {
    server: ApiServer,
    replica: Replica,
    reports: HeldReports,
}

impl Field {
    /// node1 and node2 in the near network, with agents, and a leader that knows it.
    fn new(groups: &[(&str, Value)]) -> Self {
        let (server, replica) = start(groups);
        let mut field = Self { server, replica, reports: HeldReports::default() };
        field.leases(&[lease("node1", NEAR, ""), lease("node2", NEAR, "")]);
        field
            .replica
            .index
            .reset_nodes(vec![node("node1", "192.168.50.11", false), node("node2", "192.168.50.12", false)]);
        field
    }

    /// The agents keep these Leases.
    fn leases(&mut self, leases: &[Lease]) {
        self.replica.index.reset_leases(leases, self.replica.now, Timestamp::UNIX_EPOCH);
        self.reports.reset(leases);
        if let Some((held, reports)) = self.reports.changed() {
            self.replica.index.set_held(held);
            self.replica.index.set_agent_reports(reports);
        }
    }

    fn service(&mut self, name: &str, spec: Value, annotations: Value) {
        self.server.put_service(name, spec, annotations);
        self.replica.settle_now(&mut self.server);
    }

    /// An agent notes that its node announces the Service's address.
    fn announce(&mut self, name: &str, node: &str) {
        let entry = format!("{node},eth0,{}", texts(&self.server, name));
        self.server.edit_service(name, "purelb-lbnodeagent", |object| {
            object["metadata"]["annotations"]["purelb.io/announcing-IPv4"] = json!(entry);
        });
    }

    /// Time passes, in the steps of the loop.
    fn pass(&mut self, seconds: u64) {
        for step in 1..=2 * seconds {
            self.server.seconds += i64::from(step % 2 == 0);
            self.replica.now = self.replica.now + Duration::from_millis(500);
            let (now, time) = (self.replica.now, Timestamp::from_second(self.server.seconds).unwrap());
            self.replica.index.set_time(now, time);
            self.replica.index.expire_leases(now);
            self.replica.index.check_announcements(now);
            self.replica.settle_now(&mut self.server);
        }
    }

    /// The events that say that nobody announces an address, since the last call.
    fn events(&mut self) -> Vec<String> {
        let all = self.replica.take_reports().into_iter();
        all.filter_map(|text| text.strip_prefix("NotAnnounced ").map(str::to_owned)).collect()
    }

    /// Reason and message of the condition.
    fn condition(&self, name: &str) -> Option<(String, String)> {
        let conditions = self.server.services[name]["status"]["conditions"].as_array()?;
        let found = conditions.iter().find(|condition| condition["type"] == "purelb.io/NotAnnounced")?;
        Some((found["reason"].as_str()?.to_owned(), found["message"].as_str()?.to_owned()))
    }

    fn reason(&self, name: &str) -> Option<String> {
        self.condition(name).map(|(reason, _)| reason)
    }
}

#[test]
fn case_08_an_address_without_a_node_is_reported_within_5_s_until_a_node_announces_it() {
    let mut field = Field::new(&[("default", local("192.168.77.200/29", FAR))]);
    field.service("web", one("IPv4"), json!({}));
    field.pass(3);
    assert!(field.events().is_empty() && field.condition("web").is_none());
    field.pass(2);
    let events = field.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains("192.168.77.200: no node is in its subnet 192.168.77.0/24"), "{events:?}");
    let (reason, message) = field.condition("web").unwrap();
    assert_eq!((reason.as_str(), &message), ("NoNodeInSubnet", &events[0]));
    field.pass(60);
    assert_eq!((field.events().len(), field.server.writes["web"]), (0, 2));

    field.leases(&[lease("node1", "192.168.50.0/24,192.168.77.0/24", ""), lease("node2", NEAR, "")]);
    field.announce("web", "node1");
    field.pass(1);
    assert_eq!((field.condition("web"), field.server.writes["web"]), (None, 3));
    assert!(field.events().is_empty());
}

#[test]
fn nothing_is_written_when_all_is_well() {
    let near = local("192.168.50.100-192.168.50.199", NEAR);
    let mut field = Field::new(&[("default", near), ("routed", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    for number in 0..60 {
        field.service(&format!("web{number}"), one("IPv4"), json!({}));
        // Agents need some time to note what they announce.
        field.announce(&format!("web{number}"), "node1");
    }
    field.service("routed", one("IPv6"), group("routed"));
    field.pass(30);
    assert!(field.events().is_empty());
    assert!(field.server.writes.values().all(|writes| *writes == 1), "{:?}", field.server.writes);
    // Whatever else changes, nothing follows.
    field.replica.index.apply_node(node("node3", "192.168.50.13", true));
    field.pass(30);
    assert!(field.events().is_empty() && field.server.writes.values().all(|writes| *writes == 1));
}

#[test]
fn many_notes_at_once_take_time() {
    let mut field = Field::new(&[("default", local("192.168.50.100-192.168.50.250", NEAR))]);
    for number in 0..120 {
        field.service(&format!("web{number}"), one("IPv4"), json!({}));
    }
    // 120 notes of one node take 6 s.
    field.pass(6);
    assert!(field.events().is_empty());
    for number in 0..119 {
        field.announce(&format!("web{number}"), "node1");
    }
    field.pass(3);
    let events = field.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(field.reason("web119").as_deref(), Some("Unconfirmed"));
}

#[test]
fn more_than_50_at_once_become_one_event_about_their_group() {
    let mut field = Field::new(&[("default", local("192.168.77.100-192.168.77.199", FAR))]);
    for number in 0..60 {
        field.service(&format!("web{number}"), one("IPv4"), json!({}));
    }
    let written = |field: &Field| (0..60).filter(|n| field.condition(&format!("web{n}")).is_some()).count();
    field.pass(5);
    let events = field.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].starts_with("60 Services with an address of this group"), "{events:?}");
    assert!((10..=40).contains(&written(&field)), "{}", written(&field));
    field.pass(3);
    assert_eq!((written(&field), field.events().len()), (60, 0));
}

#[test]
fn a_new_leader_leaves_everything_as_it_is_until_all_agents_have_told_all() {
    let mut field = Field::new(&[("default", local("192.168.77.200/29", FAR))]);
    field.service("old", one("IPv4"), json!({}));
    field.pass(5);
    assert_eq!(field.events().len(), 1);
    field.service("new", one("IPv4"), json!({}));
    // Another replica leads, and one agent's report has a page that it has not seen.
    field.replica = Replica::leader_with(&mut field.server, true, "f2", true, None);
    field.leases(&[lease("node1", NEAR, "")]);
    field.pass(20);
    assert!(field.events().is_empty() && field.condition("old").is_some() && field.condition("new").is_none());
    field.replica.index.set_heard_all(true);
    field.pass(5);
    let events = field.events();
    assert_eq!(events.len(), 1, "what the predecessor has said is not repeated: {events:?}");
    assert!(events[0].contains("192.168.77.201"), "{events:?}");
    assert!(field.condition("new").is_some() && field.server.writes["old"] == 2);

    // What is over is taken back by the next leader too.
    field.replica = Replica::leader_with(&mut field.server, true, "f3", true, Some(HeldAddresses::default()));
    field.leases(&[lease("node1", FAR, "")]);
    field.announce("old", "node1");
    field.pass(1);
    assert!(field.condition("old").is_none() && field.condition("new").is_some());
}

#[test]
fn agents_that_do_not_run_are_not_selected_or_refuse() {
    let near = || local("192.168.50.100-192.168.50.199", NEAR);
    let refuses = |why: &str| {
        let refused = vec![Refused { address: "192.168.50.100".parse().unwrap(), why: why.to_owned() }];
        Report { pages: 1, refused, ..Report::default() }.value().unwrap()
    };
    let (one_report, other) = (refuses("node9 has it as its own address"), refuses("gateway of node2"));
    let deselected = [(SUBNETS, ""), (INSTANCE, "pod"), (INACTIVE, "deselected pod")];
    let cases: [(Vec<Lease>, &str, &str); 5] = [
        (vec![stopped("node1"), stopped("node2")], "AgentsNotRunning", "no agent runs on node1, node2"),
        (
            vec![annotated("node1", &deselected), annotated("node2", &deselected)],
            "NodesNotSelected",
            "no LBNodeAgent selects node1, node2",
        ),
        (
            vec![annotated("node1", &[(SUBNETS, "")]), annotated("node2", &deselected)],
            "NoNodeCan",
            "no LBNodeAgent selects node2; the agent of node1 has selected no interface",
        ),
        (
            vec![annotated("node1", &[(REPORT, &one_report)]), annotated("node2", &[(REPORT, &other)])],
            "Refused",
            "refused by node2: gateway of node2; refused by node1: node9 has it as its own address",
        ),
        (vec![lease("node1", NEAR, ""), lease("node2", NEAR, "")], "Unconfirmed", "node1, node2 can, and do not"),
    ];
    for (leases, reason, text) in cases {
        let mut field = Field::new(&[("default", near())]);
        field.leases(&leases);
        field.service("web", one("IPv4"), json!({}));
        field.pass(5);
        let (found, message) = field.condition("web").unwrap();
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(text), "{message}");
        assert_eq!(field.events(), [message]);
    }
}

#[test]
fn an_agent_that_ceases_to_run_while_others_can_leaves_its_kernel() {
    let mut field = Field::new(&[("default", local("192.168.50.100-192.168.50.199", NEAR))]);
    field.service("web", one("IPv4"), json!({}));
    field.announce("web", "node1");
    field.pass(5);
    let mut other = lease("node2", NEAR, "");
    other.spec.as_mut().unwrap().lease_duration_seconds = Some(3600);
    field.leases(&[other]);
    field.pass(290);
    assert!(field.events().is_empty());
    field.pass(15);
    assert_eq!(field.reason("web").as_deref(), Some("Unconfirmed"));
}

#[test]
fn what_an_agent_holds_is_announced_though_nothing_on_the_service_says_so() {
    let mut field = Field::new(&[("default", local("192.168.50.100-192.168.50.199", NEAR))]);
    field.service("web", one("IPv4"), json!({}));
    let held = api_types::lease::Held { address: "192.168.50.100".parse().unwrap(), uid: "uid-00001".to_owned() };
    let report = Report { pages: 1, held: vec![held], ..Report::default() }.value().unwrap();
    field.leases(&[annotated("node1", &[(REPORT, &report)]), lease("node2", NEAR, "")]);
    field.pass(30);
    assert!(field.events().is_empty() && field.condition("web").is_none());
    // The agent does not run any more, and nobody else does.
    field.leases(&[stopped("node1"), stopped("node2")]);
    field.pass(5);
    assert_eq!(field.reason("web").as_deref(), Some("AgentsNotRunning"));
}

#[test]
fn case_16_endpoints_only_where_nobody_may_announce() {
    let mut field = Field::new(&[("default", local("192.168.50.100-192.168.50.199", NEAR))]);
    field.service("web", one("IPv4"), json!({}));
    field.pass(1);
    assert!(!field.replica.index.needs_endpoints());
    field.server.delete_service("web");
    field.service("web", policy_local(), json!({}));
    field.replica.index.apply_node(node("node2", "192.168.50.12", true));
    field.pass(10);
    // As long as it is not known where the endpoints are, nothing is said.
    assert!(field.replica.index.needs_endpoints() && field.events().is_empty());
    let slice = |nodes: &[&str]| Slice {
        name: "web-1".into(),
        service: ServiceName::new("shop", "web"),
        family: Family::V4,
        nodes: nodes.iter().map(|node| (*node).into()).collect(),
        nameless: false,
    };
    field.replica.index.reset_slices(vec![slice(&["node2"])]);
    field.pass(5);
    let (reason, message) = field.condition("web").unwrap();
    assert_eq!(reason, "EndpointsElsewhere");
    assert!(message.contains("exclude-from-external-load-balancers excludes node2"), "{message}");
    // The endpoints go: another reason, written at once and said when a minute has passed.
    field.replica.index.reset_slices(vec![slice(&[])]);
    field.pass(1);
    assert_eq!((field.reason("web").as_deref(), field.events().len()), (Some("NoEndpoint"), 1));
    field.pass(60);
    assert_eq!(field.events().len(), 1);
    // Pods on a node that may announce.
    field.replica.index.apply_slice(slice(&["node1"]));
    field.announce("web", "node1");
    field.pass(61);
    assert!(field.condition("web").is_none());
    // Nobody needs endpoints any more.
    field.server.delete_service("web");
    field.pass(1);
    assert!(!field.replica.index.needs_endpoints());
}

#[test]
fn a_routed_group_without_an_agent_says_so() {
    let mut field = Field::new(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64"))]);
    field.service("web", one("IPv4"), json!({}));
    let kinds = |field: &mut Field| {
        let status = field.replica.group_status("default");
        let conditions = status["conditions"].as_array().unwrap().iter();
        conditions.map(|condition| condition["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(!kinds(&mut field).contains(&"NoAgent".to_owned()));
    field.leases(&[stopped("node1")]);
    field.pass(5);
    assert_eq!(field.reason("web").as_deref(), Some("AgentsNotRunning"));
    assert!(kinds(&mut field).contains(&"NoAgent".to_owned()));
    field.leases(&[lease("node2", NEAR, "")]);
    field.pass(1);
    assert!(field.condition("web").is_none() && !kinds(&mut field).contains(&"NoAgent".to_owned()));
}

#[test]
fn a_service_of_another_class_loses_the_condition() {
    let mut field = Field::new(&[("default", local("192.168.77.200/29", FAR))]);
    field.service("web", one("IPv4"), json!({}));
    field.pass(5);
    assert!(field.condition("web").is_some());
    let mut spec = one("IPv4");
    spec["loadBalancerClass"] = json!("example.com/other");
    field.service("web", spec, json!({}));
    field.pass(1);
    assert!(field.condition("web").is_none());
}

#[test]
fn without_any_agent_only_the_groups_say_so() {
    let mut field = Field::new(&[("default", local("192.168.77.200/29", FAR))]);
    field.replica = Replica::leader(&mut field.server, true, "f2");
    field.replica.index.reset_leases(&[], field.replica.now, Timestamp::UNIX_EPOCH);
    field.service("web", one("IPv4"), json!({}));
    field.pass(20);
    assert!(field.events().is_empty() && field.condition("web").is_none());
    let status = field.replica.group_status("default").to_string();
    assert!(status.contains("no agent runs"), "{status}");
}
