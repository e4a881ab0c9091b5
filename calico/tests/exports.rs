//! What a node passes on to a router.

use calico::{BgpConfiguration, BgpFilter, BgpPeer};
use rstest::rstest;
use serde_json::{Value, json};

#[rstest]
#[case(json!({}), true, 64512)]
#[case(json!({"nodeToNodeMeshEnabled": false, "asNumber": 64600}), false, 64600)]
#[case(json!({"nodeToNodeMeshEnabled": "no", "asNumber": "64600.1"}), true, 4_233_625_601)]
#[case(Value::Null, true, 64512)]
fn what_the_configuration_does_not_say_is_calicos_default(
    #[case] spec: Value,
    #[case] mesh: bool,
    #[case] as_number: u32,
) {
    assert_eq!(BgpConfiguration::new(&spec), BgpConfiguration { mesh, as_number });
}

#[rstest]
#[case(json!({"cidr": "192.0.2.0/24", "matchOperator": "In", "source": "RemotePeers", "action": "Reject"}), Some(false))]
#[case(json!({"cidr": "192.0.2.0/24", "matchOperator": "In", "action": "Reject"}), Some(false))]
#[case(json!({"action": "Reject"}), Some(false))]
#[case(json!({"cidr": "192.0.2.0/24", "matchOperator": "In", "action": "Accept"}), Some(true))]
#[case(json!({"cidr": "192.0.2.0/24", "matchOperator": "Equal", "action": "Reject"}), None)]
#[case(json!({"cidr": "192.0.2.0/24", "matchOperator": "NotEqual", "action": "Reject"}), Some(false))]
#[case(json!({"cidr": "198.51.100.0/24", "matchOperator": "NotIn", "action": "Reject"}), Some(false))]
#[case(json!({"cidr": "192.0.2.7/32", "matchOperator": "Equal", "action": "Reject"}), Some(false))]
#[case(json!({"cidr": "192.0.2.0/24", "matchOperator": "In", "prefixLength": {"min": 25, "max": 31}, "action": "Reject"}), None)]
#[case(json!({"cidr": "192.0.2.0/24", "matchOperator": "In", "prefixLength": {"min": 25}, "action": "Reject"}), Some(false))]
#[case(json!({"interface": "kube-lb0", "action": "Reject"}), None)]
#[case(json!({"source": "LocalWorkloads", "action": "Reject"}), None)]
#[case(json!({"cidr": "192.0.2.0/24", "action": "Reject"}), None)]
#[case(json!({"action": "Perhaps"}), None)]
#[case(json!(7), None)]
fn a_rule_decides_about_a_route_of_another_node(#[case] rule: Value, #[case] expected: Option<bool>) {
    let filter = BgpFilter::new(&json!({"exportV4": [rule]}));
    assert_eq!(filter.passes_on("192.0.2.7/32".parse().unwrap()), expected);
    assert_eq!(filter.passes_on("2001:db8::7/128".parse().unwrap()), None);
}

#[test]
fn the_first_rule_decides() {
    let accept = json!({"cidr": "192.0.2.7/32", "matchOperator": "Equal", "action": "Accept"});
    let filter = BgpFilter::new(&json!({"exportV4": [accept, {"action": "Reject"}]}));
    assert_eq!(filter.passes_on("192.0.2.7/32".parse().unwrap()), Some(true));
    assert_eq!(filter.passes_on("192.0.2.8/32".parse().unwrap()), Some(false));
    assert_eq!(BgpFilter::new(&Value::Null).passes_on("192.0.2.8/32".parse().unwrap()), None);
}

#[test]
fn a_router_has_an_as_number_and_filters() {
    let peer = |spec: Value| BgpPeer::new(&spec).unwrap();
    let one = peer(json!({"peerIP": "192.0.2.1", "asNumber": 65001, "filters": ["a", 7, "b"]}));
    assert_eq!((one.router.as_number, one.router.filters), (Some(65001), vec!["a".to_owned(), "b".to_owned()]));
    let other = peer(json!({"peerIP": "192.0.2.1"}));
    assert_eq!((other.router.as_number, other.router.filters), (None, Vec::new()));
}
