//! What this node knows of the cluster: the objects that the API server shows, reduced to what decides about addresses.
//!
//! | Module | Holds |
//! |---|---|
//! | [`watches`] | the watches: objects become inputs |
//! | [`partial`] | objects of which only the needed fields are read |
//! | [`input`] | what the watches deliver |
//! | [`store`] | all objects together: inputs in, addresses to decide about again out |
//! | [`service`], [`services`] | one Service; all Services, by name and by address |
//! | [`ports`] | the ports of a Service |
//! | [`groups`] | the ServiceGroups: which pool an address comes from |
//! | [`announcer`] | who announces an address, as the annotations of its Services say |
//! | [`endpoints`] | the nodes with endpoints of a Service |
//! | [`node`], `gone_node` | this node's Node object; whether it was deleted |
//! | [`lease`], [`members`] | one Lease; all members, known by their Leases |
//! | [`reports`] | what agents report in their Leases of addresses that they hold |
//! | [`reserved`] | addresses that other nodes, or their gateways, have |
//! | [`agent_object`] | what of an LBNodeAgent its status depends on |
//! | [`selector`], [`configuration`] | node selectors; which LBNodeAgent applies to this node |
//! | [`keys`] | the gossip keys, from their Secret |

pub mod agent_object;
pub mod announcer;
pub mod configuration;
pub mod endpoints;
mod gone_node;
pub mod groups;
pub mod input;
pub mod keys;
pub mod lease;
pub mod members;
pub mod node;
pub mod partial;
pub mod ports;
pub mod reports;
pub mod reserved;
pub mod selector;
pub mod service;
pub mod services;
pub mod store;
pub mod watches;
