//! What agents report in their Leases of what their kernels have and of what they refuse.
//!
//! A report comes in pages, one at each renewal of the Lease, so that an agent has told everything when all its pages
//! were seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::lease::{self, Held, Refused, own_addresses, report};
use k8s_openapi::api::coordination::v1::Lease;

use crate::model::HeldAddresses;

/// What one agent has told.
#[derive(Debug, Clone, PartialEq, Default)]
struct Agent {
    pages: usize,
    held: BTreeMap<usize, Vec<Held>>,
    refused: BTreeMap<usize, Vec<Refused>>,
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
    /// Whether anything was told since the last [`changed`](Self::changed).
    changed: bool,
}

/// Which agent says what of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentReports {
    /// The nodes that refuse an address, and why.
    refused: BTreeMap<IpAddr, BTreeMap<String, String>>,
    /// The nodes whose kernels have an address from us, and for which UID.
    held: BTreeMap<IpAddr, BTreeSet<(String, String)>>,
}

impl AgentReports {
    /// Why the node refuses the address.
    pub(super) fn refusal(&self, address: IpAddr, node: &str) -> Option<&str> {
        self.refused.get(&address)?.get(node).map(String::as_str)
    }

    /// The nodes whose kernels have the address from us, each with the UID of the Service for which they have it.
    pub(super) fn holders(&self, address: IpAddr) -> impl Iterator<Item = (&str, &str)> {
        self.held.get(&address).into_iter().flatten().map(|(node, uid)| (node.as_str(), uid.as_str()))
    }
}

impl HeldReports {
    /// A Lease was added or changed. Leases that no agent keeps are ignored.
    pub fn apply(&mut self, lease: &Lease) {
        let Some(node) = lease::node(lease) else { return };
        let agent = self.agents.entry(node.to_owned()).or_default();
        let before = agent.clone();
        agent.own = own_addresses(lease);
        let page = report(lease);
        // An agent of an earlier release reports nothing.
        agent.pages = if page.is_empty() { 0 } else { page.pages.max(1) };
        agent.held.retain(|known, _| *known < agent.pages);
        agent.refused.retain(|known, _| *known < agent.pages);
        if page.page < agent.pages {
            agent.held.insert(page.page, page.held);
            agent.refused.insert(page.page, page.refused);
        }
        self.changed |= *agent != before;
    }

    /// A Lease was deleted.
    pub fn delete(&mut self, lease: &Lease) {
        if let Some(node) = lease::node(lease) {
            self.changed |= self.agents.remove(node).is_some();
        }
    }

    /// The complete list of Leases.
    pub fn reset(&mut self, leases: &[Lease]) {
        let listed: BTreeSet<&str> = leases.iter().filter_map(lease::node).collect();
        let before = self.agents.len();
        self.agents.retain(|node, _| listed.contains(node.as_str()));
        self.changed |= self.agents.len() != before;
        for lease in leases {
            self.apply(lease);
        }
    }

    /// Whether every agent that is alive has told all. `is_alive` says whether the agent of a node renews its Lease.
    #[must_use]
    pub fn is_complete(&self, is_alive: impl Fn(&str) -> bool) -> bool {
        self.agents.iter().all(|(node, agent)| agent.has_told_all() || !is_alive(node))
    }

    /// What was told, if that has changed since the last call.
    pub fn changed(&mut self) -> Option<(HeldAddresses, AgentReports)> {
        std::mem::take(&mut self.changed).then(|| (self.held(), self.by_address()))
    }

    fn held(&self) -> HeldAddresses {
        let mut held = HeldAddresses::default();
        for agent in self.agents.values() {
            held.own.extend(&agent.own);
            for Held { address, uid } in agent.held.values().flatten() {
                held.by_uid.entry(uid.clone()).or_default().insert(*address);
            }
        }
        held
    }

    fn by_address(&self) -> AgentReports {
        let mut reports = AgentReports::default();
        for (node, agent) in &self.agents {
            for Held { address, uid } in agent.held.values().flatten() {
                reports.held.entry(*address).or_default().insert((node.clone(), uid.clone()));
            }
            for Refused { address, why } in agent.refused.values().flatten() {
                reports.refused.entry(*address).or_default().insert(node.clone(), why.clone());
            }
        }
        reports
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
        assert!(reports.is_complete(|_| true) && reports.changed().is_none());
        reports.apply(&lease("a", 1, 2));
        assert!(!reports.is_complete(|_| true) && reports.is_complete(|_| false));
        reports.apply(&lease("a", 0, 2));
        assert!(reports.is_complete(|_| true));
        let (held, _) = reports.changed().unwrap();
        assert_eq!((held.own.len(), held.by_uid["u"].len()), (1, 2));
        // The same page again is no news.
        reports.apply(&lease("a", 1, 2));
        assert!(reports.changed().is_none());
        // The list became shorter.
        reports.apply(&lease("a", 0, 1));
        assert_eq!(reports.changed().unwrap().0.by_uid["u"].len(), 1);
        reports.reset(&[]);
        assert!(reports.changed().unwrap().0.by_uid.is_empty());
    }
}
