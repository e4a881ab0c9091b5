//! Which routers a node speaks with.

use calico::{BgpPeer, Labels, PeerError};
use rstest::rstest;
use serde_json::{Value, json};

fn rack(name: &str) -> Labels {
    [("rack".to_owned(), name.to_owned())].into()
}

#[rstest]
#[case("192.0.2.1", Some(("192.0.2.1", None, None)))]
#[case(" 192.0.2.1 ", Some(("192.0.2.1", None, None)))]
#[case("192.0.2.1:1790", Some(("192.0.2.1", None, Some(1790))))]
#[case("2001:db8::1", Some(("2001:db8::1", None, None)))]
#[case("[2001:db8::1]", Some(("2001:db8::1", None, None)))]
#[case("[2001:db8::1]:1790", Some(("2001:db8::1", None, Some(1790))))]
#[case("fe80::1%eth0", Some(("fe80::1", Some("eth0"), None)))]
#[case("[fe80::1%eth0]:179", Some(("fe80::1", Some("eth0"), Some(179))))]
#[case("fe80::1%", None)]
#[case("fe80::1%a-very-long-name", None)]
#[case("192.0.2.1/24", None)]
#[case("192.0.2.1:70000", None)]
#[case("router.example", None)]
#[case("0.0.0.0", None)]
#[case("224.0.0.1", None)]
#[case("[", None)]
#[case("%", None)]
fn the_address_may_have_a_port_and_an_interface(
    #[case] text: &str,
    #[case] expected: Option<(&str, Option<&str>, Option<u16>)>,
) {
    let peer = BgpPeer::new(&json!({"peerIP": text}));
    let found = peer.as_ref().ok().map(|peer| {
        let router = &peer.router;
        (router.address, router.interface.as_deref(), router.port)
    });
    assert_eq!(
        found,
        expected.map(|(address, interface, port)| (address.parse().unwrap(), interface, port)),
        "{peer:?}"
    );
}

#[rstest]
#[case(json!({}), true)]
#[case(json!({"node": ""}), true)]
#[case(json!({"node": "node1"}), true)]
#[case(json!({"node": "node2"}), false)]
#[case(json!({"nodeSelector": "all()"}), true)]
#[case(json!({"nodeSelector": ""}), true)]
#[case(json!({"nodeSelector": "rack == 'a'"}), true)]
#[case(json!({"nodeSelector": "rack == 'b'"}), false)]
#[case(json!({"nodeSelector": "rack in {'a', 'b'} && !has(row)"}), true)]
#[case(json!({"nodeSelector": 7}), true)]
#[case(json!({"unknown": {"of": ["a", "later", "version"]}, "asNumber": "64600.1"}), true)]
fn nodes_are_named_or_selected(#[case] more: Value, #[case] expected: bool) {
    let mut spec = json!({"peerIP": "192.0.2.1", "asNumber": 64600});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(BgpPeer::new(&spec).unwrap().applies_to("node1", &rack("a")), expected, "{spec}");
}

#[test]
fn what_names_no_router_says_why() {
    let error = |spec: Value| BgpPeer::new(&spec).unwrap_err();
    assert_eq!(error(json!({"nodeSelector": "all()", "peerSelector": "has(reflector)"})), PeerError::Nodes);
    assert_eq!(error(json!({"localWorkloadSelector": "has(bgp)"})), PeerError::Workloads);
    assert_eq!(error(json!({})), PeerError::NoAddress);
    assert_eq!(error(Value::Null), PeerError::NoAddress);
    assert_eq!(error(json!({"peerIP": 4})), PeerError::NoAddress);
    assert_eq!(
        error(json!({"peerIP": "192.0.2.1", "nodeSelector": "rack = 'a'"})).to_string(),
        "nodeSelector \"rack = 'a'\": expected ==, !=, in, not in, contains, starts with or ends with at 5"
    );
}

#[test]
fn source_address_and_ttl_security_are_known() {
    let router = |more: Value| {
        let mut spec = json!({"peerIP": "192.0.2.1"});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        BgpPeer::new(&spec).unwrap().router
    };
    assert!(router(json!({})).from_node_address);
    assert!(router(json!({"sourceAddress": "UseNodeIP"})).from_node_address);
    assert!(!router(json!({"sourceAddress": "None"})).from_node_address);
    assert_eq!(router(json!({"ttlSecurity": 2})).ttl_security, Some(2));
    for none in [json!(0), json!(-1), json!(256), json!("2"), Value::Null] {
        assert_eq!(router(json!({"ttlSecurity": none})).ttl_security, None);
    }
}

#[test]
fn the_nodes_own_address_is_of_the_routers_family() {
    let annotations: Labels = [
        ("projectcalico.org/IPv4Address".to_owned(), "192.0.2.11/24".to_owned()),
        ("projectcalico.org/IPv6Address".to_owned(), "2001:db8::11".to_owned()),
    ]
    .into();
    let address = |router: &str| calico::node::address(&annotations, router.parse().unwrap());
    assert_eq!(address("192.0.2.1"), Some("192.0.2.11".parse().unwrap()));
    assert_eq!(address("2001:db8::1"), Some("2001:db8::11".parse().unwrap()));
    assert_eq!(calico::node::address(&Labels::new(), "192.0.2.1".parse().unwrap()), None);
}
