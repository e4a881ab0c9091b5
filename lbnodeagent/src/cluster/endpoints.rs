//! The nodes with endpoints of a Service.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::cluster::service::ServiceName;

/// The label of an EndpointSlice that names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The part of an EndpointSlice that matters here: the nodes of its endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceView {
    /// Name of the slice.
    pub name: Box<str>,
    /// The Service that it belongs to.
    pub service: ServiceName,
    /// Nodes with a ready endpoint.
    pub ready: BTreeSet<Box<str>>,
    /// Nodes with an endpoint that terminates and still serves.
    pub serving: BTreeSet<Box<str>>,
}

impl SliceView {
    /// Reads a slice; nothing if it belongs to no Service.
    #[must_use]
    pub fn new(slice: &EndpointSlice) -> Option<Self> {
        let labels = slice.metadata.labels.as_ref()?;
        let namespace = slice.metadata.namespace.as_deref()?;
        let service = ServiceName::new(namespace, labels.get(SERVICE_LABEL)?);
        let mut view = Self {
            name: slice.metadata.name.as_deref()?.into(),
            service,
            ready: BTreeSet::new(),
            serving: BTreeSet::new(),
        };
        for endpoint in &slice.endpoints {
            let Some(node) = endpoint.node_name.as_deref() else { continue };
            let conditions = endpoint.conditions.as_ref();
            // Absent means ready (EndpointConditions, discovery.k8s.io/v1).
            let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
            if ready {
                view.ready.insert(node.into());
            } else if serving {
                view.serving.insert(node.into());
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

    /// The preferred nodes of a Service: those with a ready endpoint, or else those with one that terminates
    /// and still serves. Nothing as long as the endpoints are not known.
    #[must_use]
    pub fn nodes(&self, service: &ServiceName) -> Option<BTreeSet<&str>> {
        let [ready, either] = self.tiers(service)?;
        Some(if ready.is_empty() { either } else { ready })
    }

    /// Whether the first list is complete.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The nodes with a ready endpoint of a Service, and those with one that is ready or that terminates and
    /// still serves. Nothing as long as the endpoints are not known.
    #[must_use]
    pub fn tiers(&self, service: &ServiceName) -> Option<[BTreeSet<&str>; 2]> {
        if !self.complete {
            return None;
        }
        let slices = || self.slices.get(service).into_iter().flat_map(BTreeMap::values);
        let ready: BTreeSet<&str> = slices().flat_map(|slice| &slice.ready).map(|node| &**node).collect();
        let serving = slices().flat_map(|slice| &slice.serving).map(|node| &**node);
        let either = serving.chain(ready.iter().copied()).collect();
        Some([ready, either])
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Endpoints for tests.

    use super::*;

    /// A slice of `shop/SERVICE` with ready and serving-only nodes.
    pub fn slice(service: &str, name: &str, ready: &[&str], serving: &[&str]) -> SliceView {
        let set = |nodes: &[&str]| nodes.iter().map(|node| Box::from(*node)).collect();
        SliceView {
            name: name.into(),
            service: ServiceName::new("shop", service),
            ready: set(ready),
            serving: set(serving),
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
            "endpoints": [
                {"addresses": ["10.0.0.1"], "nodeName": "a"},
                {"addresses": ["10.0.0.2"], "nodeName": "b", "conditions": {"ready": false, "serving": true, "terminating": true}},
                {"addresses": ["10.0.0.3"], "nodeName": "c", "conditions": {"ready": false, "serving": false}},
                {"addresses": ["10.0.0.4"], "conditions": {"ready": true}}
            ]
        }))
        .unwrap();
        let view = SliceView::new(&object).unwrap();
        assert_eq!(view, slice("web", "web-1", &["a"], &["b"]));
    }

    #[test]
    fn ready_nodes_win_over_those_that_end() {
        let mut endpoints = Endpoints::default();
        let web = ServiceName::new("shop", "web");
        assert_eq!((endpoints.nodes(&web), endpoints.tiers(&web)), (None, None));
        endpoints.set_complete();
        endpoints.apply(slice("web", "1", &[], &["b"]));
        assert_eq!(endpoints.nodes(&web), Some(["b"].into()));
        assert!(endpoints.apply(slice("web", "2", &["a"], &[])));
        assert!(!endpoints.apply(slice("web", "2", &["a"], &[])));
        assert_eq!(endpoints.nodes(&web), Some(["a"].into()));
        assert_eq!(endpoints.tiers(&web), Some([["a"].into(), ["a", "b"].into()]));
        endpoints.remove(&web, "1");
        endpoints.remove(&web, "2");
        assert_eq!(endpoints.tiers(&web), Some([BTreeSet::new(), BTreeSet::new()]));
        assert_eq!(endpoints.nodes(&web), Some(BTreeSet::new()));
    }
}
