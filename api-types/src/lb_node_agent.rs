//! The resource LBNodeAgent, versions v1 and v2 in one type.
//!
//! A field of v2 that has a twin in v1 (`localInterface` and `localint`) has no default in the
//! schema: [`crate::AgentConfig`] applies it, or it could not tell which of the two was written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the nodes it selects announce addresses.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "purelb.io",
    version = "v2",
    kind = "LBNodeAgent",
    plural = "lbnodeagents",
    namespaced,
    derive = "PartialEq",
    status = "LBNodeAgentStatus",
    shortname = "lbna",
    shortname = "lbnas",
    doc = "How the nodes it selects announce addresses."
)]
#[serde(rename_all = "camelCase")]
pub struct LBNodeAgentSpec {
    /// The nodes it applies to; absent and `{}` both mean all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// The configuration; without it this resource configures nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<AgentLocalSpec>,
}

/// Interfaces, address attributes and announcements.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AgentLocalSpec {
    /// `default` (the interface of the default route) or a regular expression of interface names,
    /// not anchored; `default` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub local_interface: Option<String>,
    /// The interface for remote addresses, created when missing; `kube-lb0` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dummy_interface: Option<String>,
    /// Further interfaces for local addresses, by exact name, tried in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub interfaces: Option<Vec<String>>,
    /// Gratuitous ARP and unsolicited neighbour advertisements; absent means the built-in schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub garp_config: Option<GarpConfig>,
    /// What to do about a foreign host that answers for an address; `Enforce` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_detection: Option<ConflictDetection>,
    /// Attributes of the addresses in the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_config: Option<AddressConfig>,
    /// Version v1: `localInterface`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localint: Option<String>,
    /// Version v1: `dummyInterface`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extlbint: Option<String>,
    /// Version v1: `garpConfig.enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sendgarp: Option<bool>,
}

/// What to do about a host that is no node of the cluster and answers for an address that a node is about to use.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConflictDetection {
    /// Leave it the address for as long as it answers, and say so.
    #[default]
    Enforce,
    /// Use the address all the same, and say so.
    Warn,
    /// Use the address all the same.
    Off,
}

/// When gratuitous ARP and unsolicited neighbour advertisements are sent.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GarpConfig {
    /// Send them at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Wait before the first, as a Go duration.
    #[serde(default = "initial_delay")]
    pub initial_delay: String,
    /// How often, 1 to 10.
    #[serde(default = "count")]
    #[schemars(range(min = 1, max = 10))]
    pub count: i32,
    /// Wait between two, as a Go duration.
    #[serde(default = "interval")]
    pub interval: String,
    /// Before each, check that the address is still ours to announce.
    #[serde(default = "yes")]
    pub verify_before_send: bool,
}

const fn yes() -> bool {
    true
}

fn initial_delay() -> String {
    "100ms".to_owned()
}

const fn count() -> i32 {
    3
}

fn interval() -> String {
    "500ms".to_owned()
}

/// Attributes of addresses by kind of interface.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AddressConfig {
    /// Addresses on real interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_interface: Option<InterfaceAddressConfig>,
    /// Addresses on the dummy interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dummy_interface: Option<InterfaceAddressConfig>,
}

/// Attributes of addresses on one kind of interface.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceAddressConfig {
    /// Valid lifetime in seconds, 0 = permanent, 1 to 59 count as 60; 300 for local and 0 for
    /// remote addresses if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub valid_lifetime: Option<i64>,
    /// Preferred lifetime in seconds, at most the valid lifetime, which it is if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub preferred_lifetime: Option<i64>,
    /// Do not install the connected route; true for local and false for remote addresses if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_prefix_route: Option<bool>,
}

/// Never written; kept because the schema of v2 has it.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct LBNodeAgentStatus {
    /// Unused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_leases: Option<i64>,
}
