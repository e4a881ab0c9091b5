//! The `BGPPeers` of Calico, as last read.

use std::collections::BTreeMap;

use calico::{BgpPeer, GROUPS, Labels, Router};
use kube::runtime::watcher::Event;
use serde_json::Value;

/// An object of which only the name and the `spec` matter.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// Its `spec`.
    pub spec: Value,
}

/// The objects of one API group.
#[derive(Debug, Default)]
struct Group {
    peers: BTreeMap<String, BgpPeer>,
    /// The list in progress. Its objects count when it is complete.
    listing: BTreeMap<String, BgpPeer>,
    complete: bool,
}

/// The objects of both API groups.
///
/// A list that fails is no news, and neither is a group that the cluster does not have: the objects of the last complete
/// list stay.
#[derive(Debug, Default)]
pub struct Routers {
    groups: [Group; GROUPS.len()],
}

impl Routers {
    /// Takes over what the watch of an API group, by its place in [`GROUPS`], delivers.
    pub fn apply(&mut self, group: usize, event: Event<Object>) {
        let Some(group) = self.groups.get_mut(group) else { return };
        match event {
            Event::Init => group.listing.clear(),
            Event::InitApply(object) => insert(&mut group.listing, object),
            Event::InitDone => {
                group.peers = std::mem::take(&mut group.listing);
                group.complete = true;
            }
            Event::Apply(object) => insert(&mut group.peers, object),
            Event::Delete(object) => {
                group.peers.remove(&object.name);
            }
        }
    }

    /// The routers of this node; nothing before a list was read.
    #[must_use]
    pub fn of(&self, node: &str, labels: &Labels) -> Option<Vec<&Router>> {
        if !self.groups.iter().any(|group| group.complete) {
            return None;
        }
        let peers = self.groups.iter().flat_map(|group| group.peers.values());
        Some(peers.filter(|peer| peer.applies_to(node, labels)).map(|peer| &peer.router).collect())
    }
}

/// Adds what names a router. An object that has become something else is not that router's any more.
fn insert(peers: &mut BTreeMap<String, BgpPeer>, object: Object) {
    match BgpPeer::new(&object.spec) {
        Ok(peer) => {
            peers.insert(object.name, peer);
        }
        Err(error) => {
            tracing::info!(op = "bfd", bgpPeer = object.name, %error, "the BGPPeer names no router");
            peers.remove(&object.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, address: &str) -> Object {
        Object { name: name.to_owned(), spec: json!({"peerIP": address}) }
    }

    fn addresses(routers: &Routers) -> Option<Vec<String>> {
        let all = routers.of("n1", &Labels::new())?;
        Some(all.iter().map(|router| router.address.to_string()).collect())
    }

    fn list(routers: &mut Routers, group: usize, objects: &[Object]) {
        routers.apply(group, Event::Init);
        for object in objects {
            routers.apply(group, Event::InitApply(object.clone()));
        }
        routers.apply(group, Event::InitDone);
    }

    #[test]
    fn a_list_counts_when_it_is_complete() {
        let mut routers = Routers::default();
        routers.apply(0, Event::Init);
        routers.apply(0, Event::InitApply(object("a", "192.0.2.1")));
        assert_eq!(addresses(&routers), None);
        routers.apply(0, Event::InitDone);
        assert_eq!(addresses(&routers).unwrap(), ["192.0.2.1"]);
        // The next list fails halfway.
        routers.apply(0, Event::Init);
        assert_eq!(addresses(&routers).unwrap(), ["192.0.2.1"]);
        list(&mut routers, 0, &[]);
        assert_eq!(addresses(&routers).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn both_groups_count() {
        let mut routers = Routers::default();
        list(&mut routers, 0, &[object("a", "192.0.2.1")]);
        list(&mut routers, 1, &[object("a", "192.0.2.2")]);
        assert_eq!(addresses(&routers).unwrap(), ["192.0.2.1", "192.0.2.2"]);
        routers.apply(0, Event::Delete(object("a", "192.0.2.1")));
        assert_eq!(addresses(&routers).unwrap(), ["192.0.2.2"]);
    }

    #[test]
    fn an_object_that_names_nodes_is_no_router() {
        let mut routers = Routers::default();
        list(&mut routers, 0, &[object("a", "192.0.2.1")]);
        routers.apply(0, Event::Apply(Object { name: "a".into(), spec: json!({"peerSelector": "all()"}) }));
        assert_eq!(addresses(&routers).unwrap(), Vec::<String>::new());
    }
}
