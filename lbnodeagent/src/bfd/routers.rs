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
    /// The API server has said that it does not know the kind.
    absent: bool,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), listing: BTreeMap::new(), complete: false, absent: false }
    }
}

impl<T> Listed<T> {
    /// Whether it is known what there is.
    const fn is_known(&self) -> bool {
        self.complete || self.absent
    }

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
    /// The API server does not know a kind in an API group. What it knew before stays.
    pub fn absent(&mut self, what: What, group: usize) {
        let Some(group) = self.groups.get_mut(group) else { return };
        match what {
            What::Peers => group.peers.absent = true,
            What::Configurations => group.configurations.absent = true,
            What::Filters => group.filters.absent = true,
        }
    }

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

    /// Whether it is known which routers there are: each API group has been read, or does not exist, and one has been read.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.is_known(|group| &group.peers)
    }

    /// The routers of this node as far as they are known, each with the name of its object; nothing before a list was read.
    #[must_use]
    pub fn of(&self, node: &str, labels: &Labels) -> Option<Vec<(&str, &Router)>> {
        if !self.groups.iter().any(|group| group.peers.complete) {
            return None;
        }
        let peers = self.groups.iter().flat_map(|group| &group.peers.objects);
        let applying = peers.filter(|(_, peer)| peer.applies_to(node, labels));
        Some(applying.map(|(name, peer)| (name.as_str(), &peer.router)).collect())
    }

    /// What holds for all nodes; nothing before the lists were read.
    #[must_use]
    pub fn configuration(&self) -> Option<BgpConfiguration> {
        let found = self.find(|group| &group.configurations, DEFAULT);
        let known = found.is_some() || self.is_known(|group| &group.configurations);
        known.then(|| found.copied().unwrap_or_default())
    }

    /// The filter of this name, if it exists; nothing before the lists were read.
    #[must_use]
    pub fn filter(&self, name: &str) -> Option<Option<&BgpFilter>> {
        let found = self.find(|group| &group.filters, name);
        (found.is_some() || self.is_known(|group| &group.filters)).then_some(found)
    }

    /// Whether it is known which objects there are in all API groups.
    fn is_known<'a, T: 'a>(&'a self, listed: impl Fn(&'a Group) -> &'a Listed<T>) -> bool {
        let known = self.groups.iter().all(|group| listed(group).is_known());
        known && self.groups.iter().any(|group| listed(group).complete)
    }

    /// An object in one of the groups.
    fn find<'a, T: 'a>(&'a self, listed: impl Fn(&'a Group) -> &'a Listed<T>, name: &str) -> Option<&'a T> {
        self.groups.iter().find_map(|group| listed(group).objects.get(name))
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
    fn an_api_group_that_was_not_read_may_have_more() {
        let mut routers = Routers::default();
        routers.absent(What::Peers, 1);
        assert!(!routers.are_known(), "nothing was read");
        list(&mut routers, 0, &[object("a", "192.0.2.1")]);
        assert!(routers.are_known());
        let mut routers = Routers::default();
        list(&mut routers, 1, &[]);
        assert!(!routers.are_known() && addresses(&routers).is_some());
        routers.apply(What::Configurations, 1, Event::Init);
        routers.apply(What::Configurations, 1, Event::InitDone);
        assert_eq!(routers.configuration(), None, "the other group may have it");
        routers.absent(What::Configurations, 0);
        assert_eq!(routers.configuration(), Some(BgpConfiguration::default()));
        routers.absent(What::Peers, 0);
        assert!(routers.are_known());
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
