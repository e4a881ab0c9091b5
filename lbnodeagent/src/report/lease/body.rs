//! The Lease as it is written.

use api_types::lease::{
    ADDRESSES, GATEWAYS, GOSSIP, INACTIVE, INSTANCE, KUBE_PROXY, MACS, OWN_ADDRESSES, REPORT, ROUTERS, SUBNETS,
    WIRE_VERSION, addresses_value, endpoints_value, gateways_value, inactive_value, macs_value, name,
    own_addresses_value, proxy_value, routers_value, subnets_value, version_value,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use ownership::wire::VERSION;
use serde_json::{Value, json};

use super::content::Identity;
use super::schedule::{self, Due};

/// The whole Lease, so that each write corrects whatever somebody has changed.
pub(super) fn body(identity: &Identity, due: &Due, now: Timestamp) -> Value {
    let Due { content, report, routers } = due;
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name(&identity.node),
            "namespace": identity.namespace,
            "labels": {"app.kubernetes.io/name": "purelb", "app.kubernetes.io/component": "lbnodeagent"},
            "annotations": {
                SUBNETS: subnets_value(&content.subnets),
                ADDRESSES: addresses_value(&content.addresses),
                OWN_ADDRESSES: own_addresses_value(content.own.addresses.iter().copied()),
                GATEWAYS: gateways_value(content.own.gateways.iter().copied()),
                MACS: macs_value(&content.macs),
                GOSSIP: endpoints_value(&content.endpoints),
                INSTANCE: identity.pod_uid,
                WIRE_VERSION: version_value(VERSION.into(), &identity.pod_uid),
                INACTIVE: content.inactive.map(|inactive| inactive_value(inactive, &identity.pod_uid)),
                KUBE_PROXY: content.proxy.map(|state| proxy_value(state, &identity.pod_uid)),
                REPORT: report.value(),
                ROUTERS: routers_value(routers, &identity.pod_uid),
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Node", "name": identity.node, "uid": content.node_uid,
                "controller": false, "blockOwnerDeletion": false
            }],
        },
        "spec": {
            "holderIdentity": identity.node,
            "leaseDurationSeconds": schedule::duration(content.every).as_secs(),
            "renewTime": MicroTime(now),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use api_types::lease::Report;
    use k8s_openapi::api::coordination::v1::Lease;

    use super::*;
    use crate::cluster::lease::LeaseView;
    use crate::report::lease::content::Content;
    use crate::report::lease::own::OwnLists;

    fn content(gossip_silent: bool) -> Content {
        Content {
            node_uid: "node".to_owned(),
            subnets: vec!["192.0.2.0/24".parse().unwrap()],
            addresses: vec!["192.0.2.11/24".parse().unwrap()],
            own: OwnLists {
                addresses: vec!["192.0.2.11".parse().unwrap(), "10.0.0.1".parse().unwrap()],
                gateways: ["192.0.2.1".parse().unwrap()].into(),
            },
            macs: vec![[2, 0, 0, 0, 0, 11]],
            endpoints: vec!["192.0.2.11:7475".parse().unwrap()],
            every: schedule::every(gossip_silent, 3),
            proxy: None,
            inactive: None,
        }
    }

    fn lease(gossip_silent: bool) -> Value {
        let identity = Identity { namespace: "purelb".to_owned(), node: "n1".to_owned(), pod_uid: "pod".to_owned() };
        let due = Due { content: content(gossip_silent), report: Report::default(), routers: Vec::new() };
        body(&identity, &due, Timestamp::from_microsecond(1_000_001).unwrap())
    }

    #[test]
    fn the_lease_is_the_contracts() {
        let body = lease(false);
        assert_eq!(body["spec"]["renewTime"], "1970-01-01T00:00:01.000001Z");
        assert_eq!(body["metadata"]["annotations"]["purelb.io/gossip"], "192.0.2.11:7475");
        assert_eq!(body["metadata"]["annotations"]["purelb.io/macs"], "02:00:00:00:00:0b");
        assert_eq!(body["metadata"]["annotations"]["purelb.io/addresses"], "192.0.2.11/24");
        assert_eq!(body["metadata"]["annotations"]["purelb.io/wire-version"], "2 pod");
        assert_eq!(body["metadata"]["annotations"]["purelb.io/own-addresses"], "10.0.0.1,192.0.2.11");
        assert_eq!(body["metadata"]["annotations"]["purelb.io/gateways"], "192.0.2.1");
        for key in ["purelb.io/report", "purelb.io/inactive", "purelb.io/routers", "purelb.io/kube-proxy"] {
            assert!(body["metadata"]["annotations"][key].is_null(), "all is well");
        }
        let mut body = body;
        body["metadata"]["annotations"].as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let lease: Lease = serde_json::from_value(body).unwrap();
        assert_eq!(lease.metadata.name.as_deref(), Some("purelb-node-n1"));
        let (view, content) = (LeaseView::new(&lease).unwrap(), content(false));
        assert_eq!((view.node.as_str(), view.duration), ("n1", Duration::from_secs(180)));
        assert_eq!((view.subnets, view.endpoints), (content.subnets, content.endpoints));
        assert_eq!(view.places, [ownership::InterfaceAddress::new("192.0.2.11".parse().unwrap(), 24).unwrap()]);
        assert_eq!(view.wire_version, 2);
        assert_eq!((view.own.len(), view.gateways), (2, vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(view.macs, [ownership::Mac([2, 0, 0, 0, 0, 11])]);
    }

    #[test]
    fn a_lease_in_a_hurry_is_short() {
        assert_eq!(lease(true)["spec"]["leaseDurationSeconds"], 10);
    }
}
