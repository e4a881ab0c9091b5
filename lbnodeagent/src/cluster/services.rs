//! All Services, by name and by address.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use crate::cluster::service::{ServiceName, ServiceView};

/// All Services with addresses that are ours to announce.
#[derive(Debug, Default)]
pub struct Services {
    /// In boxes, because up to half of a hash map is empty.
    by_name: HashMap<ServiceName, Box<ServiceView>>,
    /// The users of an address in order of their names. Almost always there is one.
    by_address: BTreeMap<IpAddr, Box<[ServiceName]>>,
    needing_endpoints: usize,
}

impl Services {
    /// Adds or replaces a Service; returns the addresses to decide about again.
    pub fn apply(&mut self, view: ServiceView) -> BTreeSet<IpAddr> {
        let old = self.by_name.get(&view.name);
        if let Some(old) = old.filter(|old| same_but_for_bookkeeping(old, &view)) {
            // Who announces an address shows whose it is where the Service does not list it, and counts under policy Local.
            let matters = |address: &IpAddr| view.traffic_local || view.provenance.lists(*address) != Some(true);
            let news = old.announcing != view.announcing;
            let touched = view.addresses.iter().copied().filter(|address| news && matters(address)).collect();
            self.by_name.insert(view.name.clone(), Box::new(view));
            return touched;
        }
        let mut touched = self.remove(&view.name.clone());
        if view.addresses.is_empty() {
            return touched;
        }
        for address in &view.addresses {
            self.change_users(*address, |users| {
                users.insert(view.name.clone());
            });
            touched.insert(*address);
        }
        self.needing_endpoints += usize::from(view.needs_endpoints());
        self.by_name.insert(view.name.clone(), Box::new(view));
        touched
    }

    /// Removes a Service; returns the addresses to decide about again.
    pub fn remove(&mut self, name: &ServiceName) -> BTreeSet<IpAddr> {
        let Some(old) = self.by_name.remove(name) else { return BTreeSet::new() };
        self.needing_endpoints -= usize::from(old.needs_endpoints());
        for address in &old.addresses {
            self.change_users(*address, |users| {
                users.remove(name);
            });
        }
        old.addresses.into_iter().collect()
    }

    fn change_users(&mut self, address: IpAddr, change: impl FnOnce(&mut BTreeSet<ServiceName>)) {
        let mut users: BTreeSet<ServiceName> = self.by_address.remove(&address).into_iter().flatten().collect();
        change(&mut users);
        if !users.is_empty() {
            self.by_address.insert(address, users.into_iter().collect());
        }
    }

    /// The Service of this name.
    #[must_use]
    pub fn get(&self, name: &ServiceName) -> Option<&ServiceView> {
        self.by_name.get(name).map(Box::as_ref)
    }

    /// The Services with an address, in order of their names.
    pub fn of(&self, address: IpAddr) -> impl Iterator<Item = &ServiceView> {
        let users = self.by_address.get(&address);
        users.into_iter().flatten().filter_map(|name| self.get(name))
    }

    /// The Services with an address that are told what becomes of it. A Service that was given others, and whose status was
    /// copied from one that was given this, is not.
    pub fn told_of(&self, address: IpAddr) -> impl Iterator<Item = &ServiceView> {
        let given = self.of(address).any(|service| service.provenance.lists(address) == Some(true));
        self.of(address).filter(move |service| !given || service.provenance.lists(address) != Some(false))
    }

    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.by_address.keys().copied()
    }

    /// The names of all Services.
    pub fn names(&self) -> impl Iterator<Item = &ServiceName> {
        self.by_name.keys()
    }

    /// Whether any Service needs endpoints.
    #[must_use]
    pub const fn need_endpoints(&self) -> bool {
        self.needing_endpoints > 0
    }
}

/// Whether only the version and our own annotations differ.
fn same_but_for_bookkeeping(old: &ServiceView, new: &ServiceView) -> bool {
    let mut old = old.clone();
    old.resource_version.clone_from(&new.resource_version);
    old.announcing.clone_from(&new.announcing);
    old == *new
}

#[cfg(test)]
mod tests {
    use api_types::Family;

    use super::*;
    use crate::cluster::service::testing::{annotated, view};

    fn ips(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn an_address_is_known_by_all_its_users() {
        let mut services = Services::default();
        assert_eq!(services.apply(view("a", &["192.0.2.1"], None)), ips(&["192.0.2.1"]));
        assert_eq!(services.apply(view("b", &["192.0.2.1", "2001:db8::1"], None)), ips(&["192.0.2.1", "2001:db8::1"]));
        assert_eq!(services.of("192.0.2.1".parse().unwrap()).count(), 2);
        assert_eq!(services.remove(&ServiceName::new("shop", "a")), ips(&["192.0.2.1"]));
        assert_eq!(services.of("192.0.2.1".parse().unwrap()).count(), 1);
        assert!(services.remove(&ServiceName::new("shop", "a")).is_empty());
    }

    #[test]
    fn case_66_a_service_with_a_copied_status_is_not_told() {
        let mut services = Services::default();
        let address = "192.0.2.1".parse().unwrap();
        let told =
            |services: &Services| services.told_of(address).map(|one| one.name.name.to_string()).collect::<Vec<_>>();
        let mut copy = view("copy", &["192.0.2.2"], None);
        (copy.addresses, copy.in_status) = (vec![address, "192.0.2.2".parse().unwrap()], 1);
        services.apply(copy);
        assert_eq!(told(&services), ["copy"], "nobody else has it");
        services.apply(view("original", &["192.0.2.1"], None));
        assert_eq!(told(&services), ["original"]);
        services.apply(annotated("none", ""));
        assert_eq!(told(&services), ["a", "original"], "nothing says that it was given another");
    }

    #[test]
    fn an_address_dropped_from_the_status_is_touched() {
        let mut services = Services::default();
        services.apply(view("a", &["192.0.2.1", "2001:db8::1"], None));
        assert!(services.apply(view("a", &["192.0.2.1"], None)).contains(&"2001:db8::1".parse().unwrap()));
        assert_eq!(services.addresses().count(), 1);
    }

    #[test]
    fn our_own_annotations_touch_nothing() {
        let mut services = Services::default();
        services.apply(view("a", &["192.0.2.1"], None));
        let mut again = view("a", &["192.0.2.1"], None);
        again.resource_version = "2".into();
        again.announcing = [Some("n,eth0,192.0.2.1".into()), None];
        assert!(services.apply(again).is_empty());
        let kept = services.get(&ServiceName::new("shop", "a")).unwrap();
        assert_eq!((&*kept.resource_version, kept.announcing(Family::V4)), ("2", Some("n,eth0,192.0.2.1")));
    }

    #[test]
    fn rebalance_and_duplicate_check_touch_the_addresses() {
        let mut services = Services::default();
        for (key, value) in [
            ("none", ""),
            ("purelb.io/rebalance", "1"),
            ("purelb.io/rebalance", "2"),
            ("purelb.io/skip-ipv6-dad", "true"),
        ] {
            assert_eq!(services.apply(annotated(key, value)), ips(&["192.0.2.1"]), "{key}: {value}");
            assert!(services.apply(annotated(key, value)).is_empty(), "{key}: {value}");
        }
    }
}
