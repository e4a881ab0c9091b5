//! The subnets of the nodes that are alive, from the agents' Leases (specification, api.md 9).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api_types::lease;
use ipnetwork::IpNetwork;
use k8s_openapi::api::coordination::v1::Lease;
use runtime::BootTime;

/// What is known of one agent.
#[derive(Debug, Clone, PartialEq)]
struct Agent {
    subnets: Vec<IpNetwork>,
    duration: Duration,
    version: String,
    /// When we saw the Lease change last, by our clock; clocks of nodes are not compared.
    seen: BootTime,
}

/// The Leases of all agents.
#[derive(Debug, Default)]
pub struct Leases {
    agents: BTreeMap<String, Agent>,
}

impl Leases {
    /// A Lease was added or changed; others than those of agents are ignored.
    pub fn apply(&mut self, lease: &Lease, now: BootTime) {
        let Some(node) = lease::node(lease) else { return };
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(10);
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let seen = match self.agents.get(node) {
            Some(known) if known.version == version => known.seen,
            _ => now,
        };
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        self.agents.insert(node.to_owned(), Agent { subnets: lease::subnets(lease), duration, version, seen });
    }

    /// A Lease was deleted.
    pub fn delete(&mut self, lease: &Lease) {
        if let Some(node) = lease::node(lease) {
            self.agents.remove(node);
        }
    }

    /// The complete list of Leases.
    pub fn reset(&mut self, leases: &[Lease], now: BootTime) {
        let listed: BTreeSet<&str> = leases.iter().filter_map(lease::node).collect();
        self.agents.retain(|node, _| listed.contains(node.as_str()));
        for lease in leases {
            self.apply(lease, now);
        }
    }

    /// The subnets of all agents whose Lease has changed within its duration.
    #[must_use]
    pub fn subnets(&self, now: BootTime) -> BTreeSet<IpNetwork> {
        let alive = self.agents.values().filter(|agent| now.since(agent.seen) <= agent.duration);
        alive.flat_map(|agent| agent.subnets.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;

    use super::*;

    fn lease(node: &str, version: u32, subnets: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.name = Some(lease::name(node));
        lease.metadata.resource_version = Some(version.to_string());
        lease.metadata.annotations = Some([(lease::SUBNETS.to_owned(), subnets.to_owned())].into());
        lease.spec = Some(LeaseSpec { lease_duration_seconds: Some(10), ..LeaseSpec::default() });
        lease
    }

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    #[test]
    fn a_lease_counts_as_long_as_it_is_renewed() {
        let mut leases = Leases::default();
        leases.apply(&lease("a", 1, "192.0.2.0/24"), at(0));
        leases.apply(&lease("b", 1, "192.0.2.0/24,198.51.100.0/24"), at(5));
        assert_eq!(leases.subnets(at(10)).len(), 2);
        // Seen again in a new list, but not renewed.
        leases.reset(&[lease("a", 2, "192.0.2.0/24"), lease("b", 1, "198.51.100.0/24")], at(12));
        assert_eq!(leases.subnets(at(16)).len(), 1);
        leases.delete(&lease("a", 2, ""));
        assert!(leases.subnets(at(16)).is_empty());
    }
}
