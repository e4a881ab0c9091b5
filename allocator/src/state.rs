//! The state of the allocator: objects go in, writes, calls and Kubernetes events come out. Nothing here waits or knows a
//! network.
//!
//! [`Index`] joins the parts. Each part owns its fields, and returns what follows from a change.
//!
//! | Part | Holds |
//! |---|---|
//! | `services` | the Services, and the addresses reserved for writes in flight |
//! | `groups` | the ServiceGroups and the table made of them |
//! | `cluster` | what is known of the cluster besides: the next three |
//! | `members` | what is known of the agents from their Leases |
//! | `nodes` | the Nodes |
//! | `external_ips` | `spec.externalIPs` of all Services, and which of them count |
//! | `reserved_reports` | which Services have been told that they hold an address of somebody else |
//! | `routers` | after how long the routers would notice the death of nodes |
//! | `queue` | the Services to plan next, those that wait, and clean-ups |
//! | `announcing` | what is known only to find addresses that nobody announces: the next two, and more |
//! | `unannounced` | Services with an address that nobody announces: since when, and what has been reported |
//! | `endpoints` | where the endpoints of Services are |
//! | `repairs` | how often what somebody else takes from a Service is put back |
//! | `held_reports` | what the agents' kernels have and what agents refuse, from their Leases |
//! | `fencing` | the writes of a new leader that void late writes of its predecessor |
//! | `offers` | which addresses the leader may be about to give |
//! | `missing_groups` | Services with addresses of groups that are gone |
//! | `unanswered` | writes to Services that the API server does not answer in time |
//! | `sharing` | Services that hold the same address: who may, who loses it |
//! | `service_conditions`, `group_conditions`, `condition` | the conditions of Services and of groups |
//! | `group_status`, `group_view`, `coverage`, `aggregates` | which group statuses are due, and what they say |
//! | `patch` | the writes to Services |
//! | `owed_record` | the record of what is to be given back to sidecars |
//!
//! | Part of [`Index`] | Does |
//! |---|---|
//! | `index` | takes in Services and addresses |
//! | `group_input` | takes in groups and node subnets |
//! | `cluster_input` | takes in Leases, Nodes, external IPs and ServiceCIDRs |
//! | `reserved` | reserves addresses, and reports those that Services hold |
//! | `vip_ports` | ports that other Services add to an address by `spec.externalIPs` |
//! | `slow_writes` | tells who keeps the API server from answering writes to Services |
//! | `announcements` | looks for addresses that nobody announces |
//! | `pool_gauges` | computes the gauges of pools |
//! | `reconcile` | plans a Service, records the plan, writes it, and takes in the outcome |
//! | `sidecars` | external allocations: calls, answers, releases |
//! | `differences` | what to do when a sidecar does not have what the Services have |
//! | `owed` | what an earlier leader owed to sidecars, and the record of what this one owes |
//! | `owed_reports` | what is told of releases that nobody would see otherwise |
//! | `leading` | begins and ends a term |
//! | `offering` | keeps the offer in the Lease wide enough for what is about to be given |

mod aggregates;
mod announcements;
mod announcing;
mod cluster;
mod cluster_input;
mod condition;
mod coverage;
mod differences;
mod endpoints;
mod external_ips;
mod fencing;
mod group_conditions;
mod group_input;
mod group_status;
mod group_view;
mod groups;
mod held_reports;
mod index;
mod leading;
mod members;
mod missing_groups;
mod nodes;
mod offering;
mod offers;
mod owed;
mod owed_record;
mod owed_reports;
mod patch;
mod pool_gauges;
mod queue;
mod reconcile;
mod repairs;
mod reserved;
mod reserved_reports;
mod routers;
mod service_conditions;
mod services;
mod sharing;
mod sidecars;
mod slow_writes;
mod unannounced;
mod unanswered;
mod vip_ports;

pub use fencing::LATEST_ARRIVAL;
pub use group_status::StatusPatch;
pub use held_reports::{AgentReports, HeldReports};
pub use index::Index;
pub use patch::{Purpose, ServicePatch, clean_up};
pub use reconcile::Outcome;
