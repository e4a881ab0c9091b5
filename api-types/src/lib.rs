//! The API of the load balancer: its resources, and their meaning.
//!
//! The resource types mirror what the API server stores. The domain types ([`Group`], [`Pool`], [`AddressRange`],
//! [`AgentConfig`]) are made from them. A value of a domain type is always valid, so no other crate validates again.
//!
//! | Module | Holds |
//! |---|---|
//! | [`service_group`] | the resource ServiceGroup, versions v1 and v2 |
//! | [`lb_node_agent`] | the resource LBNodeAgent, versions v1 and v2 |
//! | [`bfd`] | the settings of BFD in an LBNodeAgent, and what they mean once they are valid |
//! | [`family`] | IPv4 or IPv6 |
//! | [`range`] | ranges of addresses, and properties of single addresses |
//! | [`aggregation`] | the prefix length of an address on the dummy interface |
//! | [`group`] | a valid ServiceGroup: its pools, its announcement, its namespaces |
//! | [`groups_in_force`] | which of the groups count, where they share addresses or names |
//! | [`agent_config`] | a valid LBNodeAgent: interfaces, attributes of addresses, announcements |
//! | [`service`] | the fields of a Service that both programs read |
//! | [`lease`] | the Lease by which an agent makes itself known to the others |
//! | [`reserved`] | addresses that no Service may be given |
//! | [`provenance`] | whose the addresses in a Service's status are |
//! | [`vip_ports`] | the annotation by which ports of other Services are open on an address |
//! | [`watched`] | decoding of the resources, so that one that cannot be read hides no other |
//! | [`names`] | names that users rely on: annotations, classes, reasons of events, objects |

pub mod agent_config;
pub mod aggregation;
pub mod bfd;
pub mod family;
pub mod group;
pub mod groups_in_force;
mod interface_name;
pub mod lb_node_agent;
pub mod lease;
pub mod names;
pub mod provenance;
pub mod range;
pub mod reserved;
pub mod service;
pub mod service_group;
pub mod vip_ports;
pub mod watched;

pub use agent_config::{AddressAttributes, AgentConfig, AgentConfigError, Announcements, InterfaceChoice};
pub use aggregation::{Aggregation, AggregationError};
pub use bfd::{BfdConfig, BfdConfigError, BfdPeer, CalicoBfd};
pub use family::Family;
pub use group::{Announce, Group, GroupError, Ipam, NamespaceBinding, Pool};
pub use groups_in_force::{Contender, GroupId, GroupsInForce, NotInForce, Standing};
pub use lb_node_agent::{
    ConflictDetection, FailureDetection, LBNodeAgent, LBNodeAgentSpec, LBNodeAgentStatus, ProxyFailure, VipGuard,
};
pub use provenance::{Evidence, Provenance, Right};
pub use range::{AddressRange, RangeError};
pub use service::SharingKey;
pub use service_group::{PendingRelease, ServiceGroup, ServiceGroupSpec, ServiceGroupStatus};
pub use watched::{Unreadable, Watched};
