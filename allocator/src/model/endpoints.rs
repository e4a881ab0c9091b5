//! An EndpointSlice, reduced to the nodes of its endpoints.

use std::collections::BTreeSet;

use api_types::Family;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::service::ServiceName;

/// The label of an EndpointSlice that names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// An EndpointSlice as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The name of the slice.
    pub name: Box<str>,
    /// The Service that it belongs to.
    pub service: ServiceName,
    /// The family of its addresses.
    pub family: Family,
    /// The nodes with an endpoint that is ready, or that terminates and still serves.
    pub nodes: BTreeSet<Box<str>>,
    /// Whether such an endpoint names no node.
    pub nameless: bool,
}

impl Slice {
    /// The slice as kept; nothing if it belongs to no Service or has no IP addresses.
    #[must_use]
    pub fn keep(slice: &EndpointSlice) -> Option<Self> {
        let (service, name) = Self::key(slice)?;
        let family = Family::from_api(&slice.address_type)?;
        let mut kept = Self { name, service, family, nodes: BTreeSet::new(), nameless: false };
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref();
            // Absent means ready (EndpointConditions, discovery.k8s.io/v1).
            let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            if !ready && !conditions.and_then(|conditions| conditions.serving).unwrap_or(false) {
                continue;
            }
            match endpoint.node_name.as_deref() {
                Some(node) => drop(kept.nodes.insert(node.into())),
                None => kept.nameless = true,
            }
        }
        Some(kept)
    }

    /// The Service of a slice and the name of the slice.
    #[must_use]
    pub fn key(slice: &EndpointSlice) -> Option<(ServiceName, Box<str>)> {
        let service = slice.metadata.labels.as_ref()?.get(SERVICE_LABEL)?;
        let namespace = slice.metadata.namespace.as_deref()?;
        Some((ServiceName::new(namespace, service), slice.metadata.name.as_deref()?.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn endpoints_that_serve_count_with_their_nodes() {
        let mut object: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "endpoints": [
                {"addresses": ["10.0.0.1"], "nodeName": "a"},
                {"addresses": ["10.0.0.2"], "nodeName": "b", "conditions": {"ready": false, "serving": true}},
                {"addresses": ["10.0.0.3"], "nodeName": "c", "conditions": {"ready": false}},
                {"addresses": ["10.0.0.4"], "conditions": {"ready": true}}
            ]
        }))
        .unwrap();
        let kept = Slice::keep(&object).unwrap();
        assert_eq!(kept.nodes.iter().map(|node| &**node).collect::<Vec<_>>(), ["a", "b"]);
        assert!(kept.nameless && kept.service == ServiceName::new("shop", "web") && kept.family == Family::V4);
        "FQDN".clone_into(&mut object.address_type);
        assert_eq!(Slice::keep(&object), None);
    }
}
