//! Where an address belongs, and why: objects of the cluster and the observed kernel in, decisions out.
//!
//! | Module | Holds |
//! |---|---|
//! | [`address`] | the decision about one address |
//! | [`after_boot`] | whether routed addresses wait for kube-proxy after a boot |
//! | [`context`] | everything that a decision depends on |
//! | [`decision`] | decisions and this node's participation in a local address |
//! | `failed_proxy` | nodes that kube-proxy does not serve are the last choice |
//! | [`guard`] | whether this node guards addresses, and which ports are open |
//! | [`kube_proxy`] | whether kube-proxy is on this node |
//! | [`proxy_life`] | whether it has died |
//! | [`proxy_rules`] | whether its rules were taken away |
//! | [`rights`] | which Services let this node announce an address |
//! | [`reason`] | the reasons of decisions |
//! | [`interfaces`] | the interfaces for local addresses and the subnets that they reach |
//! | [`default_interfaces`] | the interfaces for local addresses that a node uses by default |
//! | [`networks`] | the networks that interfaces are part of |
//! | `reserved` | addresses that are somebody else's |
//! | [`source`] | an address of ours that the kernel gives to the node's own packets |
//! | `unused` | an address that nobody uses, to recognize proxy ARP |
//! | [`unusable`] | interfaces of the configuration that cannot be used |
//! | [`traffic_policy`] | what traffic policies and affinities require of a node |

pub mod address;
pub mod after_boot;
pub mod context;
pub mod decision;
pub mod default_interfaces;
mod failed_proxy;
pub mod guard;
pub mod interfaces;
pub mod kube_proxy;
pub mod networks;
pub mod proxy_life;
pub mod proxy_rules;
pub mod reason;
mod reserved;
pub mod rights;
pub mod source;
pub mod traffic_policy;
pub mod unusable;
mod unused;
