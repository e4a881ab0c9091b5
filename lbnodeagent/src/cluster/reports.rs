//! What agents report in their Leases of addresses that their kernels have from us.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::lease::{Held, Report};

/// How many pages of one agent are kept. Longer lists lose evidence, never addresses: it counts only where nothing on the
/// Service says that the address is ours.
const MAX_PAGES: usize = 256;

/// The reports of all agents, this node's earlier ones included. Pages of a long report come one at each renewal and are
/// kept until they come again.
#[derive(Debug, Default)]
pub struct Reports {
    by_node: BTreeMap<String, BTreeMap<usize, Vec<Held>>>,
    /// How many pages name each address with this UID.
    held: BTreeMap<IpAddr, BTreeMap<Box<str>, usize>>,
}

impl Reports {
    /// Takes over the page of a Lease; returns the addresses that it concerns.
    pub fn apply(&mut self, node: &str, report: &Report) -> BTreeSet<IpAddr> {
        let page = report.page.min(MAX_PAGES - 1);
        let pages = report.pages.min(MAX_PAGES);
        let known = self.by_node.get(node);
        if report.held.is_empty() && known.is_none()
            || known
                .is_some_and(|known| known.get(&page) == Some(&report.held) && known.keys().all(|page| *page < pages))
        {
            return BTreeSet::new();
        }
        let mut known = self.by_node.remove(node).unwrap_or_default();
        let mut gone: Vec<Held> = known.split_off(&pages).into_values().flatten().collect();
        gone.extend(known.remove(&page).unwrap_or_default());
        let mut touched = BTreeSet::new();
        for held in gone {
            touched.insert(held.address);
            self.uncount(&held);
        }
        for held in &report.held {
            touched.insert(held.address);
            *self.held.entry(held.address).or_default().entry(held.uid.as_str().into()).or_default() += 1;
        }
        if !report.held.is_empty() {
            known.insert(page, report.held.clone());
        }
        if !known.is_empty() {
            self.by_node.insert(node.to_owned(), known);
        }
        touched
    }

    /// Forgets the report of a node whose Lease is gone; returns the addresses that it concerns.
    pub fn remove(&mut self, node: &str) -> BTreeSet<IpAddr> {
        self.apply(node, &Report::default())
    }

    /// Whether an agent's kernel has the address from us for the object with this UID.
    #[must_use]
    pub fn hold(&self, address: IpAddr, uid: &str) -> bool {
        self.held.get(&address).is_some_and(|uids| uids.contains_key(uid))
    }

    fn uncount(&mut self, held: &Held) {
        let Some(uids) = self.held.get_mut(&held.address) else { return };
        if let Some(count) = uids.get_mut(held.uid.as_str()) {
            *count -= 1;
            if *count == 0 {
                uids.remove(held.uid.as_str());
            }
        }
        if uids.is_empty() {
            self.held.remove(&held.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(page: usize, pages: usize, held: &[(&str, &str)]) -> Report {
        let held = held.iter().map(|(address, uid)| Held { address: address.parse().unwrap(), uid: (*uid).to_owned() });
        Report { page, pages, refused: Vec::new(), held: held.collect() }
    }

    #[test]
    fn pages_are_kept_until_they_come_again() {
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let mut reports = Reports::default();
        assert_eq!(reports.apply("a", &page(0, 2, &[("192.0.2.1", "x")])), [one].into());
        assert_eq!(reports.apply("a", &page(1, 2, &[("192.0.2.2", "y")])), [two].into());
        assert!(reports.apply("a", &page(1, 2, &[("192.0.2.2", "y")])).is_empty());
        assert!(reports.hold(one, "x") && reports.hold(two, "y") && !reports.hold(one, "y"));
        assert_eq!(reports.apply("a", &page(0, 1, &[("192.0.2.1", "z")])), [one, two].into());
        assert!(!reports.hold(one, "x") && !reports.hold(two, "y") && reports.hold(one, "z"));
    }

    #[test]
    fn what_one_of_two_agents_holds_is_held() {
        let one = "192.0.2.1".parse().unwrap();
        let mut reports = Reports::default();
        for node in ["a", "b"] {
            reports.apply(node, &page(0, 1, &[("192.0.2.1", "x")]));
        }
        assert_eq!(reports.remove("a"), [one].into());
        assert!(reports.hold(one, "x"));
        assert_eq!(reports.apply("b", &Report::default()), [one].into());
        assert!(!reports.hold(one, "x") && reports.apply("c", &Report::default()).is_empty());
    }

    #[test]
    fn a_page_far_away_is_bounded() {
        let mut reports = Reports::default();
        reports.apply("a", &page(usize::MAX, usize::MAX, &[("192.0.2.1", "x")]));
        assert!(reports.hold("192.0.2.1".parse().unwrap(), "x"));
        assert_eq!(reports.remove("a").len(), 1);
    }
}
