//! The nodes with endpoints of a Service, and of each of its ports.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use api_types::Family;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::cluster::service::ServiceName;

/// The label of an EndpointSlice that names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The part of an EndpointSlice that matters here: the nodes of its endpoints, and their ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceView {
    /// Name of the slice.
    pub name: Box<str>,
    /// The Service that it belongs to.
    pub service: ServiceName,
    /// The family of its addresses (`addressType`).
    pub family: Family,
    /// The names of the ports that each of its endpoints serves; one without a name has an empty one. A Service has
    /// several slices if its pods serve different ports.
    pub ports: BTreeSet<Box<str>>,
    /// Nodes with a ready endpoint.
    pub ready: BTreeSet<Box<str>>,
    /// Nodes with an endpoint that terminates and still serves.
    pub serving: BTreeSet<Box<str>>,
    /// It has an endpoint that is ready or serves and names no node.
    pub nameless: bool,
}

impl SliceView {
    /// Reads a slice; nothing if it belongs to no Service or has no IP addresses.
    #[must_use]
    pub fn new(slice: &EndpointSlice) -> Option<Self> {
        let labels = slice.metadata.labels.as_ref()?;
        let namespace = slice.metadata.namespace.as_deref()?;
        let service = ServiceName::new(namespace, labels.get(SERVICE_LABEL)?);
        let ports = slice.ports.iter().flatten().map(|port| port.name.as_deref().unwrap_or_default().into());
        let mut view = Self {
            ports: ports.collect(),
            name: slice.metadata.name.as_deref()?.into(),
            service,
            family: Family::from_api(&slice.address_type)?,
            ready: BTreeSet::new(),
            serving: BTreeSet::new(),
            nameless: false,
        };
        for endpoint in &slice.endpoints {
            let conditions = endpoint.conditions.as_ref();
            // Absent means ready (EndpointConditions, discovery.k8s.io/v1).
            let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
            match endpoint.node_name.as_deref() {
                Some(node) if ready => drop(view.ready.insert(node.into())),
                Some(node) if serving => drop(view.serving.insert(node.into())),
                Some(_) => {}
                None => view.nameless |= ready || serving,
            }
        }
        Some(view)
    }
}

/// The `EndpointSlices` of all Services.
#[derive(Debug, Default)]
pub struct Endpoints {
    slices: HashMap<ServiceName, BTreeMap<Box<str>, SliceView>>,
    complete: bool,
}

impl Endpoints {
    /// Adds or replaces a slice; returns whether anything changed.
    pub fn apply(&mut self, view: SliceView) -> bool {
        let slices = self.slices.entry(view.service.clone()).or_default();
        if slices.get(&view.name) == Some(&view) {
            return false;
        }
        slices.insert(view.name.clone(), view);
        true
    }

    /// Removes a slice.
    pub fn remove(&mut self, service: &ServiceName, slice: &str) {
        if let Some(slices) = self.slices.get_mut(service) {
            slices.remove(slice);
            if slices.is_empty() {
                self.slices.remove(service);
            }
        }
    }

    /// All slices, as (Service, slice).
    pub fn names(&self) -> impl Iterator<Item = (&ServiceName, &str)> {
        self.slices.iter().flat_map(|(service, slices)| slices.keys().map(move |slice| (service, &**slice)))
    }

    /// The first list is complete.
    pub const fn set_complete(&mut self) {
        self.complete = true;
    }

    /// Forgets everything, because no Service needs endpoints any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether the first list is complete.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// Where the endpoints of one family of a Service are. Nothing as long as they are not known.
    #[must_use]
    pub fn places(&self, service: &ServiceName, family: Family) -> Option<Places<'_>> {
        if !self.complete {
            return None;
        }
        let slices = || self.of(service, family);
        let ready: BTreeSet<&str> = slices().flat_map(|slice| &slice.ready).map(|node| &**node).collect();
        let serving = slices().flat_map(|slice| &slice.serving).map(|node| &**node);
        let either: BTreeSet<&str> = serving.chain(ready.iter().copied()).collect();
        if either.is_empty() && slices().any(|slice| slice.nameless) {
            return Some(Places::Everywhere);
        }
        Some(Places::Nodes { ready, either })
    }

    /// The nodes of each port that has endpoints with a node.
    #[must_use]
    pub fn ports(&self, service: &ServiceName, family: Family) -> BTreeMap<&str, Nodes<'_>> {
        let mut ports: BTreeMap<&str, Nodes<'_>> = BTreeMap::new();
        for slice in self.of(service, family).filter(|slice| !slice.ready.is_empty() || !slice.serving.is_empty()) {
            let nameless = slice.ports.is_empty().then_some("");
            for port in slice.ports.iter().map(|port| &**port).chain(nameless) {
                let [ready, either] = ports.entry(port).or_default();
                ready.extend(slice.ready.iter().map(|node| &**node));
                either.extend(slice.ready.iter().chain(&slice.serving).map(|node| &**node));
            }
        }
        ports
    }

    fn of(&self, service: &ServiceName, family: Family) -> impl Iterator<Item = &SliceView> {
        let all = self.slices.get(service).into_iter().flat_map(BTreeMap::values);
        all.filter(move |slice| slice.family == family)
    }
}

/// The nodes with a ready endpoint, and those with one that is ready or serves.
pub type Nodes<'a> = [BTreeSet<&'a str>; 2];

/// Where the endpoints of one family of a Service are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Places<'a> {
    /// There are endpoints, and none of them names its node. They count as if they were on every node.
    Everywhere,
    /// They are on these nodes.
    Nodes {
        /// Nodes with a ready endpoint.
        ready: BTreeSet<&'a str>,
        /// Nodes with an endpoint that is ready, or that terminates and still serves.
        either: BTreeSet<&'a str>,
    },
}

#[cfg(test)]
pub(crate) mod testing {
    //! Endpoints for tests.

    use super::*;

    /// A slice of `shop/SERVICE` with IPv4 endpoints, on ready and serving-only nodes.
    pub fn slice(service: &str, name: &str, ready: &[&str], serving: &[&str]) -> SliceView {
        let set = |nodes: &[&str]| nodes.iter().map(|node| Box::from(*node)).collect();
        SliceView {
            name: name.into(),
            service: ServiceName::new("shop", service),
            family: Family::V4,
            ports: BTreeSet::new(),
            ready: set(ready),
            serving: set(serving),
            nameless: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::slice;
    use super::*;

    #[test]
    fn conditions_are_read_as_the_api_defines_them() {
        let object: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"port": 80}, {"port": 443, "name": "https"}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "nodeName": "a"},
                {"addresses": ["10.0.0.2"], "nodeName": "b", "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.0.0.3"], "nodeName": "c", "conditions": {"ready": false, "serving": false}},
                {"addresses": ["10.0.0.4"], "conditions": {"ready": true}}
            ]
        }))
        .unwrap();
        let view = SliceView::new(&object).unwrap();
        let ports = ["".into(), "https".into()].into();
        assert_eq!(view, SliceView { nameless: true, ports, ..slice("web", "web-1", &["a"], &["b"]) });
        let of_type = |kind: &str| SliceView::new(&EndpointSlice { address_type: kind.to_owned(), ..object.clone() });
        assert_eq!(of_type("IPv6").map(|view| view.family), Some(Family::V6));
        assert_eq!(of_type("FQDN"), None);
    }

    fn nodes<'a>(ready: &[&'a str], either: &[&'a str]) -> Places<'a> {
        Places::Nodes { ready: ready.iter().copied().collect(), either: either.iter().copied().collect() }
    }

    #[test]
    fn nodes_of_all_slices_are_known_together() {
        let mut endpoints = Endpoints::default();
        let web = ServiceName::new("shop", "web");
        assert_eq!(endpoints.places(&web, Family::V4), None);
        endpoints.set_complete();
        endpoints.apply(slice("web", "1", &[], &["b"]));
        assert_eq!(endpoints.places(&web, Family::V4), Some(nodes(&[], &["b"])));
        assert!(endpoints.apply(slice("web", "2", &["a"], &[])));
        assert!(!endpoints.apply(slice("web", "2", &["a"], &[])));
        assert_eq!(endpoints.places(&web, Family::V4), Some(nodes(&["a"], &["a", "b"])));
        endpoints.remove(&web, "1");
        endpoints.remove(&web, "2");
        assert_eq!(endpoints.places(&web, Family::V4), Some(nodes(&[], &[])));
    }

    #[test]
    fn case_54_each_family_has_its_own_endpoints() {
        let mut endpoints = Endpoints::default();
        endpoints.set_complete();
        endpoints.apply(slice("web", "4", &["a"], &[]));
        endpoints.apply(SliceView { family: Family::V6, ..slice("web", "6", &["b"], &[]) });
        let web = ServiceName::new("shop", "web");
        assert_eq!(endpoints.places(&web, Family::V4), Some(nodes(&["a"], &["a"])));
        assert_eq!(endpoints.places(&web, Family::V6), Some(nodes(&["b"], &["b"])));
    }

    #[test]
    fn case_94_each_port_has_its_own_nodes() {
        let mut endpoints = Endpoints::default();
        endpoints.set_complete();
        let web = ServiceName::new("shop", "web");
        endpoints.apply(SliceView { ports: ["http".into()].into(), ..slice("web", "1", &["a"], &[]) });
        let both = ["http".into(), "https".into()].into();
        endpoints.apply(SliceView { ports: both, ..slice("web", "2", &["b"], &["c"]) });
        endpoints.apply(SliceView { ports: ["old".into()].into(), ..slice("web", "3", &[], &[]) });
        let set = |nodes: &[&'static str]| nodes.iter().copied().collect::<BTreeSet<&str>>();
        let http = [set(&["a", "b"]), set(&["a", "b", "c"])];
        let https = [set(&["b"]), set(&["b", "c"])];
        assert_eq!(endpoints.ports(&web, Family::V4), [("http", http), ("https", https)].into());
        assert!(endpoints.ports(&web, Family::V6).is_empty());
    }

    #[test]
    fn case_17_endpoints_without_a_node_are_everywhere_unless_others_name_one() {
        let mut endpoints = Endpoints::default();
        endpoints.set_complete();
        let web = ServiceName::new("shop", "web");
        endpoints.apply(SliceView { nameless: true, ..slice("web", "1", &[], &[]) });
        assert_eq!(endpoints.places(&web, Family::V4), Some(Places::Everywhere));
        endpoints.apply(slice("web", "2", &[], &["a"]));
        assert_eq!(endpoints.places(&web, Family::V4), Some(nodes(&[], &["a"])));
    }
}
