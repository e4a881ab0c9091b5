//! The traffic policy `Local`: what the agent reports about it.

use std::time::Duration;

use serde_json::json;

use crate::node::{LOCAL, Lan, Node, REMOTE, remote_is_there};
use crate::objects::{endpoints, groups, service};
use crate::support::{eventually, in_namespace};

/// Upstream ignores the policy `Local` of a local address. An event tells the user once that it is honoured here.
#[test]
fn the_local_traffic_policy_of_a_local_address_is_reported_once() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let policy = |name: &str, addresses: &[&str], policy: &str| {
            let mut service = service(name, addresses);
            service["spec"]["externalTrafficPolicy"] = json!(policy);
            service
        };
        let mut node = Node::with(&groups(), &[policy("local", &LOCAL[..1], "Local")]).await;
        node.endpoints("local", &["n1"]).await;
        let reports =
            |events: &[(&str, String)]| events.iter().filter(|(reason, _)| *reason == "LocalOverride").count();
        let mut events = Vec::new();
        eventually("an event", || {
            events.extend(node.events());
            reports(&events) > 0
        })
        .await;
        assert!(events.iter().any(|(_, text)| text.contains("stays so") && text.contains(LOCAL[0])), "{events:#?}");
        // Not for each pass, and not for remote addresses.
        node.apply(&policy("routed", REMOTE, "Local")).await;
        node.endpoints("routed", &["n1"]).await;
        eventually("announced", remote_is_there).await;
        node.apply(&policy("local", &LOCAL[..1], "Local")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        events.extend(node.events());
        assert_eq!(reports(&events), 1, "{events:#?}");
        // The policy is changed while the address is here.
        node.apply(&policy("local", &LOCAL[..1], "Cluster")).await;
        node.wait_for_address("held", LOCAL[0], |address| address.announced).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        node.forget_events();
        node.apply(&policy("local", &LOCAL[..1], "Local")).await;
        node.wait_for_event(&["LocalOverride"]).await;
        // The next run reports nothing again.
        node.stop().await;
        let mut node = Node::with(&groups(), &[policy("local", &LOCAL[..1], "Local")]).await;
        node.endpoints("local", &["n1"]).await;
        node.wait_for_address("adopted", LOCAL[0], |address| address.announced).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let events = node.events();
        assert_eq!(reports(&events), 0, "{events:#?}");
    });
}

/// Services that share an address under the policy `Local`: who serves most of them answers, and it is said who is dark.
#[test]
fn case_11_sharers_that_no_node_can_serve_together_are_told() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let sharer = |name: &str| {
            let mut service = service(name, &LOCAL[..1]);
            service["spec"]["externalTrafficPolicy"] = json!("Local");
            service
        };
        let mut node = Node::start().await;
        let mut objects = groups();
        objects.extend(["one", "other"].map(sharer));
        objects.extend([("one", "n2"), ("other", "n2")].map(|(service, on)| endpoints(service, &[on])));
        node.deliver_lists_of(&objects).await;
        node.wait_for_address("nobody may", LOCAL[0], |address| !address.announced && address.reason == "lostElection")
            .await;
        let reported = |events: &[(&str, String)], words: &str| {
            events.iter().any(|(reason, text)| *reason == "NoEligibleNodes" && text.contains(words))
        };
        let mut events = Vec::new();
        eventually("an event", || {
            events.extend(node.events());
            reported(&events, "nobody answers for it")
        })
        .await;
        node.apply_object(&endpoints("other", &["n1", "n2"])).await;
        node.wait_for_address("together", LOCAL[0], |address| address.announced).await;
        node.apply_object(&endpoints("one", &["n2"])).await;
        node.apply_object(&endpoints("other", &["n1"])).await;
        eventually("another event", || {
            events.extend(node.events());
            reported(&events, "node n1 keeps it, without an endpoint of one")
        })
        .await;
        node.wait_for_address("kept", LOCAL[0], |address| address.announced).await;
    });
}

/// The pods of a Service serve different ports, so each port has an EndpointSlice of its own.
#[test]
fn case_94_a_port_without_an_endpoint_here_is_reported() {
    in_namespace(|| async {
        let _lan = Lan::new().await;
        let of_port = |port: &str, nodes: &[&str]| {
            let mut slice = endpoints("web", nodes);
            slice["metadata"]["name"] = json!(format!("web-{port}"));
            slice["ports"] = json!([{"name": port, "port": 80}]);
            slice
        };
        let mut web = service("web", &[LOCAL[0], REMOTE[0]]);
        web["spec"]["externalTrafficPolicy"] = json!("Local");
        let mut objects = groups();
        objects.extend([web, of_port("http", &["n1"]), of_port("https", &["n2"])]);
        let mut node = Node::start().await;
        node.deliver_lists_of(&objects).await;
        for address in [LOCAL[0], REMOTE[0]] {
            node.wait_for_address("announced", address, |address| address.announced).await;
        }
        let mut texts = Vec::new();
        eventually("two events", || {
            let events = node.events();
            texts.extend(events.into_iter().filter(|(reason, _)| *reason == "PortUnserved").map(|(_, text)| text));
            texts.len() == 2
        })
        .await;
        for (address, text) in [LOCAL[0], REMOTE[0]].iter().zip(texts_in_order(&texts, LOCAL[0])) {
            let part = format!("announce {address} do not serve all ports");
            assert!(text.contains(&part) && text.contains("port https has no endpoint on n1, only on n2"), "{text}");
        }
        // The routed address goes to a node that serves both; the local one has nowhere to go.
        node.apply_object(&of_port("http", &["n1", "n2"])).await;
        node.wait_for_address("elsewhere", REMOTE[0], |address| !address.announced && address.reason == "noEndpoints")
            .await;
        node.apply_object(&of_port("https", &["n1", "n2"])).await;
        node.wait_for_address("back", REMOTE[0], |address| address.announced).await;
    });
}

/// The text about `first` comes first.
fn texts_in_order<'a>(texts: &'a [String], first: &str) -> Vec<&'a String> {
    let mut texts: Vec<&String> = texts.iter().collect();
    texts.sort_by_key(|text| !text.contains(first));
    texts
}
