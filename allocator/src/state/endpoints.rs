//! Where the endpoints of Services are. They are known only while some Service has the traffic policy `Local`.

use std::collections::{BTreeMap, BTreeSet};

use api_types::Family;

use crate::model::{ServiceName, Slice};

/// Where the endpoints of one family of a Service are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Places<'a> {
    /// They name no node, and count as if they were on every node.
    Everywhere,
    /// On these nodes.
    Nodes(BTreeSet<&'a str>),
}

/// The `EndpointSlices`.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    slices: BTreeMap<ServiceName, BTreeMap<Box<str>, Slice>>,
    listed: bool,
}

impl Endpoints {
    /// A slice was added or changed. Returns whether that matters.
    pub(super) fn apply(&mut self, slice: Slice) -> bool {
        let slices = self.slices.entry(slice.service.clone()).or_default();
        if slices.get(&slice.name) == Some(&slice) {
            return false;
        }
        slices.insert(slice.name.clone(), slice);
        true
    }

    /// A slice was deleted.
    pub(super) fn delete(&mut self, service: &ServiceName, slice: &str) {
        if let Some(slices) = self.slices.get_mut(service) {
            slices.remove(slice);
            if slices.is_empty() {
                self.slices.remove(service);
            }
        }
    }

    /// The complete list.
    pub(super) fn reset(&mut self, slices: Vec<Slice>) {
        self.slices.clear();
        for slice in slices {
            self.apply(slice);
        }
        self.listed = true;
    }

    /// They are not watched any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Where the endpoints are; nothing while that is not known.
    pub(super) fn places(&self, service: &ServiceName, family: Family) -> Option<Places<'_>> {
        if !self.listed {
            return None;
        }
        let slices = self.slices.get(service).into_iter().flat_map(BTreeMap::values);
        let of_family = slices.filter(|slice| slice.family == family);
        let nodes: BTreeSet<&str> = of_family.clone().flat_map(|slice| &slice.nodes).map(|node| &**node).collect();
        let nameless = nodes.is_empty() && of_family.clone().any(|slice| slice.nameless);
        Some(if nameless { Places::Everywhere } else { Places::Nodes(nodes) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(name: &str, family: Family, nodes: &[&str], nameless: bool) -> Slice {
        let nodes = nodes.iter().map(|node| (*node).into()).collect();
        Slice { name: name.into(), service: ServiceName::new("shop", "web"), family, nodes, nameless }
    }

    #[test]
    fn each_family_has_its_own_and_nameless_ones_are_everywhere() {
        let (mut endpoints, web) = (Endpoints::default(), ServiceName::new("shop", "web"));
        assert_eq!(endpoints.places(&web, Family::V4), None);
        endpoints.reset(vec![slice("1", Family::V4, &["a"], true), slice("2", Family::V6, &[], true)]);
        assert_eq!(endpoints.places(&web, Family::V4), Some(Places::Nodes(["a"].into())));
        assert_eq!(endpoints.places(&web, Family::V6), Some(Places::Everywhere));
        assert!(!endpoints.apply(slice("1", Family::V4, &["a"], true)));
        assert!(endpoints.apply(slice("1", Family::V4, &["b"], false)));
        assert_eq!(endpoints.places(&web, Family::V4), Some(Places::Nodes(["b"].into())));
        endpoints.delete(&web, "1");
        assert_eq!(endpoints.places(&web, Family::V4), Some(Places::Nodes(BTreeSet::new())));
        endpoints.clear();
        assert_eq!(endpoints.places(&web, Family::V4), None);
    }
}
