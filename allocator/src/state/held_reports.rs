//! What agents report in their Leases of what their kernels have.
//!
//! A report comes in pages, one at each renewal of the Lease, so that an agent has told everything when all its pages
//! were seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::lease::{self, Held, own_addresses, report};
use k8s_openapi::api::coordination::v1::Lease;

use crate::model::HeldAddresses;

/// What one agent has told.
#[derive(Debug, Default)]
struct Agent {
    pages: usize,
    held: BTreeMap<usize, Vec<Held>>,
    own: Vec<IpAddr>,
}

impl Agent {
    fn has_told_all(&self) -> bool {
        (0..self.pages).all(|page| self.held.contains_key(&page))
    }
}

/// What all agents have told, by node.
#[derive(Debug, Default)]
pub struct HeldReports {
    agents: BTreeMap<String, Agent>,
}

impl HeldReports {
    /// A Lease was added or changed. Leases that no agent keeps are ignored.
    pub fn apply(&mut self, lease: &Lease) {
        let Some(node) = lease::node(lease) else { return };
        let agent = self.agents.entry(node.to_owned()).or_default();
        agent.own = own_addresses(lease);
        let page = report(lease);
        // An agent of an earlier release reports nothing.
        agent.pages = if page.is_empty() { 0 } else { page.pages.max(1) };
        agent.held.retain(|known, _| *known < agent.pages);
        if page.page < agent.pages {
            agent.held.insert(page.page, page.held);
        }
    }

    /// A Lease was deleted.
    pub fn delete(&mut self, lease: &Lease) {
        if let Some(node) = lease::node(lease) {
            self.agents.remove(node);
        }
    }

    /// The complete list of Leases.
    pub fn reset(&mut self, leases: &[Lease]) {
        let listed: BTreeSet<&str> = leases.iter().filter_map(lease::node).collect();
        self.agents.retain(|node, _| listed.contains(node.as_str()));
        for lease in leases {
            self.apply(lease);
        }
    }

    /// What is known now. `is_alive` says whether the agent of a node renews its Lease.
    #[must_use]
    pub fn held(&self, is_alive: impl Fn(&str) -> bool) -> HeldAddresses {
        let mut held = HeldAddresses { complete: true, ..HeldAddresses::default() };
        for (node, agent) in &self.agents {
            held.complete &= agent.has_told_all() || !is_alive(node);
            held.own.extend(&agent.own);
            for Held { address, uid } in agent.held.values().flatten() {
                held.by_uid.entry(uid.clone()).or_default().insert(*address);
            }
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use api_types::lease::{OWN_ADDRESSES, REPORT, Report};

    use super::*;

    fn lease(node: &str, page: usize, pages: usize) -> Lease {
        let held = vec![Held { address: IpAddr::from([192, 0, 2, u8::try_from(page).unwrap()]), uid: "u".to_owned() }];
        let value = Report { page, pages, refused: Vec::new(), held }.value().unwrap();
        let mut lease = Lease::default();
        lease.metadata.name = Some(lease::name(node));
        lease.metadata.annotations =
            Some([(REPORT.to_owned(), value), (OWN_ADDRESSES.to_owned(), "10.0.0.1".to_owned())].into());
        lease
    }

    #[test]
    fn an_agent_has_told_all_after_one_turn() {
        let mut reports = HeldReports::default();
        assert!(reports.held(|_| true).complete);
        reports.apply(&lease("a", 1, 2));
        assert!(!reports.held(|_| true).complete && reports.held(|_| false).complete);
        reports.apply(&lease("a", 0, 2));
        let held = reports.held(|_| true);
        assert!(held.complete && held.own.len() == 1);
        assert_eq!(held.by_uid["u"].len(), 2);
        // The list became shorter.
        reports.apply(&lease("a", 0, 1));
        assert_eq!(reports.held(|_| true).by_uid["u"].len(), 1);
        reports.reset(&[]);
        assert!(reports.held(|_| true).by_uid.is_empty());
    }
}
