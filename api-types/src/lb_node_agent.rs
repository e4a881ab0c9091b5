//! The resource LBNodeAgent, versions v1 and v2 in one type.
//!
//! Some settings have a field in each version, such as `localInterface` and `localint`. These fields have no default in
//! the schema, because a default would hide which of the two was written. [`crate::AgentConfig`] applies the defaults.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bfd::BfdSpec;

/// How the selected nodes announce the addresses of Services.
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
    doc = "How the selected nodes announce the addresses of Services.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct LBNodeAgentSpec {
    /// The nodes to which this resource applies. If it is absent or `{}`, it applies to all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// The configuration. A resource without it has no effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<AgentLocalSpec>,
}

/// Interfaces, attributes of addresses, and announcements.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AgentLocalSpec {
    /// The interfaces for local addresses: `default` means those that carry the node's internal addresses and those of
    /// its default routes, any other value is a regular expression that is searched for in the names and altnames of
    /// the interfaces (not anchored). Defaults to `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub local_interface: Option<String>,
    /// The dummy interface for remote addresses. It is created if it does not exist. Defaults to `kube-lb0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dummy_interface: Option<String>,
    /// Further interfaces for local addresses, by exact name or altname, tried in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub interfaces: Option<Vec<String>>,
    /// Gratuitous ARP and unsolicited neighbour advertisements. If it is absent, they are sent 0, 0.1, 0.5, 2 and 10
    /// seconds after a node has taken an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub garp_config: Option<GarpConfig>,
    /// What to do when a host outside the cluster answers for an address. Defaults to `Enforce`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_detection: Option<ConflictDetection>,
    /// How soon a silent node is believed gone, as this node sees it. Defaults to `Normal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_detection: Option<FailureDetection>,
    /// Whether the addresses of Services let in nothing but the ports of their Services. Defaults to `Auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vip_guard: Option<VipGuard>,
    /// What becomes of addresses on a node whose kube-proxy fails. Defaults to `Avoid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_failure: Option<ProxyFailure>,
    /// Attributes of addresses in the kernel, by kind of interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_config: Option<AddressConfig>,
    /// How routers learn by BFD (RFC 5880) that this node has died. If it is absent, the routers of Calico's
    /// BGPPeer objects are answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<BfdSpec>,
    /// The name of `localInterface` in version v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localint: Option<String>,
    /// The name of `dummyInterface` in version v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extlbint: Option<String>,
    /// Version v1 only, without effect: gratuitous ARP is sent unless `garpConfig.enabled` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sendgarp: Option<bool>,
}

/// What to do when a host outside the cluster answers for an address that a node is about to use.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConflictDetection {
    /// Do not use the address while the host answers, and report the conflict.
    #[default]
    Enforce,
    /// Use the address, and report the conflict.
    Warn,
    /// Use the address, and report nothing. The value was `Off` before, which YAML 1.1 reads as the boolean false unless
    /// it is quoted; quoted it is still accepted.
    #[serde(alias = "Off")]
    Disabled,
}

/// How soon a node that is silent is believed gone. Only the setting of the node that watches counts, so nodes may differ.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureDetection {
    /// After about 0.2 s, with twice the pings. Not for virtual machines or busy nodes: an agent that waits for a processor
    /// for so long is taken for dead, and its addresses move if its kernel does not answer either.
    Fast,
    /// After about 0.3 s.
    #[default]
    Normal,
    /// After about 1.2 s: for Wi-Fi and overcommitted virtual machines.
    Relaxed,
}

/// Whether a node's addresses of Services let in nothing but the ports of these Services, so that sshd, the kubelet, host
/// ports and node ports are not reached through them. Rules in nftables do that, in a table of their own.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VipGuard {
    /// As long as kube-proxy runs on the node. Other service proxies may deliver packets past these rules or against them.
    #[default]
    Auto,
    /// Always.
    Enabled,
    /// Never.
    Disabled,
}

/// What becomes of addresses on a node whose kube-proxy was there and does not answer any more, or whose rules somebody has
/// removed.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ProxyFailure {
    /// The node is the last choice for local addresses, and announces no routed ones. This has no effect while more than a
    /// third of the nodes report such a failure.
    #[default]
    Avoid,
    /// Nothing.
    Ignore,
}

/// When gratuitous ARP and unsolicited neighbour advertisements are sent.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GarpConfig {
    /// Whether gratuitous ARP and unsolicited neighbour advertisements are sent.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The time from taking an address to the first announcement, as a Go duration such as `100ms`.
    #[serde(default = "initial_delay")]
    pub initial_delay: String,
    /// The number of announcements, 1 to 10.
    #[serde(default = "count")]
    #[schemars(range(min = 1, max = 10))]
    pub count: i32,
    /// The time between two announcements, as a Go duration such as `500ms`.
    #[serde(default = "interval")]
    pub interval: String,
    /// Whether the agent checks before each announcement that its node still owns the address.
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

/// Attributes of addresses in the kernel, by kind of interface.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AddressConfig {
    /// Attributes of local addresses, which are on a real interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_interface: Option<InterfaceAddressConfig>,
    /// Attributes of remote addresses, which are on the dummy interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dummy_interface: Option<InterfaceAddressConfig>,
}

/// Attributes of addresses on one kind of interface.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct InterfaceAddressConfig {
    /// Valid lifetime in seconds. 0 means permanent, values from 1 to 59 count as 60. Defaults to 300 for local and to
    /// 0 for remote addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub valid_lifetime: Option<i64>,
    /// Preferred lifetime in seconds, at most the valid lifetime. Defaults to the valid lifetime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub preferred_lifetime: Option<i64>,
    /// Whether the kernel leaves out the connected route of the address. Defaults to true for local and to false for
    /// remote addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_prefix_route: Option<bool>,
}

/// Whether the settings can be used, written by one of the agents.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct LBNodeAgentStatus {
    /// The generation of the specification that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The conditions: `Ready`, and `Stalled` if only an edit can make it ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Unused. It exists because the schema of version v2 has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_leases: Option<i64>,
}
