//! The API of the load balancer: what users write, and what it means.
//!
//! Parsing happens once, here. The resource types mirror what the API server stores; the domain
//! types ([`Group`], [`Pool`], [`AddressRange`], [`AgentConfig`]) exist only when they are valid.
//!
//! | Module | Holds |
//! |---|---|
//! | [`service_group`] | the resource ServiceGroup, versions v1 and v2 |
//! | [`lb_node_agent`] | the resource LBNodeAgent, versions v1 and v2 |
//! | [`family`] | IPv4 or IPv6 |
//! | [`range`] | a range of addresses |
//! | [`aggregation`] | the prefix length that an address gets on the dummy interface |
//! | [`group`] | a valid ServiceGroup: its pools, how it is announced, whom it serves |
//! | [`agent_config`] | a valid LBNodeAgent: interfaces, address attributes, announcements |
//! | [`service`] | what both programs read from a Service |
//! | [`lease`] | the Lease by which an agent makes itself known |
//! | [`reserved`] | addresses that no Service may be given |
//! | [`provenance`] | whose the addresses in a Service's status are |
//! | [`names`] | annotation keys, classes, event reasons, object names |

pub mod agent_config;
pub mod aggregation;
pub mod family;
pub mod group;
pub mod lb_node_agent;
pub mod lease;
pub mod names;
pub mod provenance;
pub mod range;
pub mod reserved;
pub mod service;
pub mod service_group;

pub use agent_config::{AddressAttributes, AgentConfig, AgentConfigError, Announcements, InterfaceChoice};
pub use aggregation::{Aggregation, AggregationError};
pub use family::Family;
pub use group::{Announce, Group, GroupError, Ipam, NamespaceBinding, Pool};
pub use lb_node_agent::{ConflictDetection, LBNodeAgent, LBNodeAgentSpec};
pub use provenance::{Evidence, Provenance, Right};
pub use range::{AddressRange, RangeError};
pub use service::SharingKey;
pub use service_group::{PendingRelease, ServiceGroup, ServiceGroupSpec, ServiceGroupStatus};
