//! What the groups say of the routers that agents report.

use std::time::Duration;

use api_types::lease::{INSTANCE, Notices, ROUTERS, RouterReport, routers_value};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use runtime::BootTime;
use serde_json::{Value, json};

use super::fixtures::{dual, start};
use super::replica::{Replica, lease};

const NEAR: &str = "192.168.50.0/24";
const SILENT: &str = "it does not speak BFD with the node";

/// The Lease of an agent with one router.
fn reporting(node: &str, notices: Notices) -> Lease {
    let mut lease = lease(node, NEAR, "");
    let report = RouterReport { router: "192.0.2.1".to_owned(), notices };
    let annotations = lease.metadata.annotations.as_mut().unwrap();
    annotations.insert(INSTANCE.to_owned(), "pod".to_owned());
    annotations.insert(ROUTERS.to_owned(), routers_value(&[report], "pod").unwrap());
    lease
}

fn late() -> Notices {
    Notices::AfterHoldTime(SILENT.to_owned())
}

/// Status, reason and message of the condition.
fn condition(status: &Value) -> Option<[String; 3]> {
    let conditions = status["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == "DeadNodesNoticed")?;
    Some(["status", "reason", "message"].map(|field| found[field].as_str().unwrap().to_owned()))
}

/// What is written so many days later, without anything else having changed.
fn written(replica: &mut Replica, group: &str, days: u64) -> Option<[String; 3]> {
    let later = BootTime::now() + Duration::from_secs(86_400 * days);
    let patches = replica.index.status_patches(later, Timestamp::UNIX_EPOCH, usize::MAX);
    condition(&patches.into_iter().find(|patch| patch.group.1 == group)?.body["status"])
}

#[test]
fn remote_groups_say_when_routers_would_notice_a_death() {
    let near = json!({"local": {"v4pools": [{"pool": "192.168.50.200/29", "subnet": NEAR}]}});
    let (_server, mut replica) = start(&[("default", dual("10.1.0.0/24", "2001:db8:1::/64")), ("near", near)]);
    let fast = || Notices::AfterMilliseconds(900);
    let now = replica.now;
    let leases = [lease("node1", NEAR, ""), lease("node2", NEAR, "")];
    replica.index.reset_leases(&leases, now, Timestamp::UNIX_EPOCH);
    assert_eq!(condition(&replica.group_status("default")), None, "no node has a router");

    // A change of nothing else is news.
    replica.index.apply_lease(&reporting("node1", fast()), now, Timestamp::UNIX_EPOCH);
    let one = "the router 192.0.2.1 would notice the death of node1 after 0.9 s";
    assert_eq!(written(&mut replica, "default", 1), Some(["True".into(), "ByBFD".into(), one.into()]));
    assert_eq!(written(&mut replica, "default", 2), None, "written once");
    replica.index.apply_lease(&reporting("node2", late()), now, Timestamp::UNIX_EPOCH);
    let [status, reason, message] = written(&mut replica, "default", 3).unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "AfterHoldTime"));
    let other = format!("the router 192.0.2.1 would notice the death of node2 after its BGP hold time: {SILENT}");
    assert_eq!(message, format!("{other}; {one}"));
    // Addresses of the nodes' own network move without any router.
    assert_eq!(condition(&replica.group_status("near")), None);

    // An agent that is gone reports nothing.
    replica.index.delete_lease(&reporting("node2", late()));
    assert_eq!(written(&mut replica, "default", 4).unwrap()[0], "True");
    replica.index.expire_leases(now + Duration::from_secs(181));
    assert_eq!(condition(&replica.group_status("default")), None);
}
