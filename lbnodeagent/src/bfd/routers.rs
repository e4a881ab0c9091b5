//! Calico's objects about BGP, as last read.

use std::collections::BTreeMap;

use calico::bgp_configuration::DEFAULT;
use calico::{BgpConfiguration, BgpFilter, BgpPeer, GROUPS, Labels, Router};
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

/// The kinds of objects that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `BGPPeer`.
    Peers,
    /// `BGPConfiguration`.
    Configurations,
    /// `BGPFilter`.
    Filters,
}

/// The objects of one kind and API group.
#[derive(Debug)]
struct Listed<T> {
    objects: BTreeMap<String, T>,
    /// The list in progress. Its objects count when it is complete.
    listing: BTreeMap<String, T>,
    complete: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: BTreeMap::new(), complete: false }
    }
}

impl<T> Listed<T> {
    /// Takes an event over. `read` gives nothing of an object that does not count, perhaps not any more.
    fn apply(&mut self, event: Event<Object>, read: impl Fn(&Object) -> Option<T>) {
        let insert = |objects: &mut BTreeMap<String, T>, object: Object| match read(&object) {
            Some(value) => drop(objects.insert(object.name, value)),
            None => drop(objects.remove(&object.name)),
        };
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(object) => insert(&mut self.listing, object),
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.listing);
                self.complete = true;
            }
            Event::Apply(object) => insert(&mut self.objects, object),
            Event::Delete(object) => {
                self.objects.remove(&object.name);
            }
        }
    }
}

/// The objects of one API group.
#[derive(Debug, Default)]
struct Group {
    peers: Listed<BgpPeer>,
    configurations: Listed<BgpConfiguration>,
    filters: Listed<BgpFilter>,
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
    /// Takes over what the watch of a kind and an API group, by its place in [`GROUPS`], delivers.
    pub fn apply(&mut self, what: What, group: usize, event: Event<Object>) {
        let Some(group) = self.groups.get_mut(group) else { return };
        match what {
            What::Peers => group.peers.apply(event, peer),
            What::Configurations => {
                group.configurations.apply(event, |object| Some(BgpConfiguration::new(&object.spec)));
            }
            What::Filters => group.filters.apply(event, |object| Some(BgpFilter::new(&object.spec))),
        }
    }

    /// The routers of this node, each with the name of its object; nothing before a list was read.
    #[must_use]
    pub fn of(&self, node: &str, labels: &Labels) -> Option<Vec<(&str, &Router)>> {
        if !self.groups.iter().any(|group| group.peers.complete) {
            return None;
        }
        let peers = self.groups.iter().flat_map(|group| &group.peers.objects);
        let applying = peers.filter(|(_, peer)| peer.applies_to(node, labels));
        Some(applying.map(|(name, peer)| (name.as_str(), &peer.router)).collect())
    }

    /// What holds for all nodes; nothing before a list was read.
    #[must_use]
    pub fn configuration(&self) -> Option<BgpConfiguration> {
        let mut complete =
            self.groups.iter().map(|group| &group.configurations).filter(|listed| listed.complete).peekable();
        complete.peek()?;
        Some(complete.find_map(|listed| listed.objects.get(DEFAULT)).copied().unwrap_or_default())
    }

    /// The filter of this name, if it exists; nothing before a list was read.
    #[must_use]
    pub fn filter(&self, name: &str) -> Option<Option<&BgpFilter>> {
        let mut complete = self.groups.iter().map(|group| &group.filters).filter(|listed| listed.complete).peekable();
        complete.peek()?;
        Some(complete.find_map(|listed| listed.objects.get(name)))
    }
}

/// What of an object names a router. One that has become something else is not that router's any more.
fn peer(object: &Object) -> Option<BgpPeer> {
    let peer = BgpPeer::new(&object.spec);
    if let Err(error) = &peer {
        tracing::info!(op = "bfd", bgpPeer = object.name, %error, "the BGPPeer names no router");
    }
    peer.ok()
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
        Some(all.iter().map(|(_, router)| router.address.to_string()).collect())
    }

    fn list(routers: &mut Routers, group: usize, objects: &[Object]) {
        routers.apply(What::Peers, group, Event::Init);
        for object in objects {
            routers.apply(What::Peers, group, Event::InitApply(object.clone()));
        }
        routers.apply(What::Peers, group, Event::InitDone);
    }

    #[test]
    fn a_list_counts_when_it_is_complete() {
        let mut routers = Routers::default();
        routers.apply(What::Peers, 0, Event::Init);
        routers.apply(What::Peers, 0, Event::InitApply(object("a", "192.0.2.1")));
        assert_eq!(addresses(&routers), None);
        routers.apply(What::Peers, 0, Event::InitDone);
        assert_eq!(addresses(&routers).unwrap(), ["192.0.2.1"]);
        // The next list fails halfway.
        routers.apply(What::Peers, 0, Event::Init);
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
        routers.apply(What::Peers, 0, Event::Delete(object("a", "192.0.2.1")));
        assert_eq!(addresses(&routers).unwrap(), ["192.0.2.2"]);
    }

    #[test]
    fn an_object_that_names_nodes_is_no_router() {
        let mut routers = Routers::default();
        list(&mut routers, 0, &[object("a", "192.0.2.1")]);
        routers.apply(
            What::Peers,
            0,
            Event::Apply(Object { name: "a".into(), spec: json!({"peerSelector": "all()"}) }),
        );
        assert_eq!(addresses(&routers).unwrap(), Vec::<String>::new());
    }
}
