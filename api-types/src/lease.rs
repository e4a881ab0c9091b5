//! The Lease by which an agent makes itself known to the other agents (specification, api.md 9).
//!
//! Each annotation holds a list, joined by commas. Anybody who may write Leases can write anything into them. Reading
//! therefore skips entries that are not valid, and stops after a fixed number of them. Writing is canonical: the same
//! content always gives the same text, so a Lease changes only when its content does.
//!
//! | Module | Annotation |
//! |---|---|
//! | `subnets` | the subnets in which the node can answer |
//! | `addresses` | the node's own addresses |
//! | `macs` | the hardware addresses of its interfaces |
//! | `instance` | which agent writes it |
//! | `inactive` | why its agent announces nothing |
//! | `proxy` | whether kube-proxy serves the node |
//! | `endpoints` | where its agent listens for gossip |
//! | `report` | addresses that nobody may have, what the agent refuses and holds, and which release it is |
//! | `routers` | after how long the node's routers would notice its death |
//! | `list` | what reading and writing of all of them have in common |

mod addresses;
mod endpoints;
mod inactive;
mod instance;
mod list;
mod macs;
mod proxy;
mod report;
mod routers;
mod subnets;

use k8s_openapi::api::coordination::v1::Lease;

pub use addresses::{ADDRESSES, MAX_ADDRESSES, addresses, addresses_value};
pub use endpoints::{GOSSIP, MAX_ENDPOINTS, endpoints, endpoints_value};
pub use inactive::{INACTIVE, Inactive, inactive, inactive_value};
pub use instance::INSTANCE;
pub use macs::{MACS, MAX_MACS, macs, macs_value};
pub use proxy::{KUBE_PROXY, ProxyState, proxy, proxy_value};
pub use report::{
    ALLOCATOR_VERSION, GATEWAYS, Held, MARKS_WITH_ADDRESSES, MAX_GATEWAYS, MAX_OWN_ADDRESSES, MAX_REPORT, MAY_GIVE,
    OWN_ADDRESSES, REPORT, Refused, Report, WIRE_VERSION, allocator_version, gateways, gateways_value, own_addresses,
    own_addresses_value, report, version_value, wire_version,
};
pub use routers::{MAX_ROUTERS, Notices, ROUTERS, RouterReport, routers, routers_value};
pub use subnets::{MAX_SUBNETS, SUBNETS, subnets, subnets_value};

/// The prefix of the name of every agent's Lease. The name of the node follows it.
pub const NAME_PREFIX: &str = "purelb-node-";

/// The name of a node's Lease.
#[must_use]
pub fn name(node: &str) -> String {
    format!("{NAME_PREFIX}{node}")
}

/// The node to which the Lease belongs, or `None` if it is not the Lease of an agent.
#[must_use]
pub fn node(lease: &Lease) -> Option<&str> {
    lease.metadata.name.as_deref()?.strip_prefix(NAME_PREFIX).filter(|node| !node.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(name: &str) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.name = Some(name.to_owned());
        lease
    }

    #[test]
    fn the_name_of_a_lease_holds_the_name_of_its_node() {
        assert_eq!(node(&lease(&name("a"))), Some("a"));
    }

    #[test]
    fn other_leases_have_no_node() {
        assert_eq!(node(&lease("purelb-allocator")), None);
        assert_eq!(node(&lease("purelb-node-")), None);
    }

    #[test]
    fn an_earlier_releases_lease_lists_nothing() {
        let lease = Lease::default();
        assert!(addresses(&lease).is_empty() && macs(&lease).is_empty() && endpoints(&lease).is_empty());
        assert!(subnets(&lease).is_empty());
    }
}
