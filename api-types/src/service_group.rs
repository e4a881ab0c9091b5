//! The resource ServiceGroup, versions v1 and v2.
//!
//! Both versions are one Rust type: the schema of the custom resource definition is the union of
//! both. They differ by one default, see [`LocalSpec::announce`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pools of addresses for Services of type LoadBalancer.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[kube(
    group = "purelb.io",
    version = "v2",
    kind = "ServiceGroup",
    namespaced,
    status = "ServiceGroupStatus",
    derive = "PartialEq",
    shortname = "sg",
    shortname = "sgs",
    doc = "Pools of addresses for Services of type LoadBalancer.",
    printcolumn(name = "Announce", type_ = "string", json_path = ".status.announce"),
    printcolumn(name = "IPAM", type_ = "string", json_path = ".status.ipam"),
    printcolumn(name = "Allocated-V4", type_ = "integer", json_path = ".status.allocatedIPv4"),
    printcolumn(name = "Allocated-V6", type_ = "integer", json_path = ".status.allocatedIPv6"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = "1"
    ),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".status.addresses", priority = "1"),
    printcolumn(name = "Available-V4", type_ = "integer", json_path = ".status.availableIPv4", priority = "1"),
    printcolumn(name = "Available-V6", type_ = "integer", json_path = ".status.availableIPv6", priority = "1"),
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".spec.namespaces", priority = "1"),
    printcolumn(name = "Enforced", type_ = "boolean", json_path = ".spec.enforceNamespaces", priority = "1"),
    printcolumn(name = "Bound", type_ = "string", json_path = ".status.boundNamespaces", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.local), has(self.remote), has(self.external)].filter(given, given).size() == 1 || (has(self.netbox) && !has(self.remote) && !has(self.external))")
        .message("exactly one of local, remote, or external must be specified"),
    validation = Rule::new("!has(self.enforceNamespaces) || !self.enforceNamespaces || (has(self.namespaces) && self.namespaces.size() > 0)")
        .message("enforceNamespaces requires a non-empty namespaces list"),
    validation = Rule::new("!has(self.namespaceDefault) || !self.namespaceDefault || (has(self.namespaces) && self.namespaces.size() > 0)")
        .message("namespaceDefault requires a non-empty namespaces list"),
)]
pub struct ServiceGroupSpec {
    /// Addresses that one node at a time announces on its own network interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalSpec>,
    /// Addresses that every node has on its dummy interface, for routing software to advertise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteSpec>,
    /// Addresses that an IPAM sidecar of the allocator hands out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalSpec>,
    /// Version v1 only, and no longer supported: use `external`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netbox: Option<NetboxSpec>,
    /// Namespaces that this group serves; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), inner(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")))]
    pub namespaces: Option<Vec<String>>,
    /// Services of the listed namespaces may use only groups that list them.
    #[serde(default)]
    pub enforce_namespaces: bool,
    /// This group is the default of the listed namespaces.
    #[serde(default)]
    pub namespace_default: bool,
}

/// Addresses announced by one node at a time; the flat fields are those of version v1.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.multiPool) && self.multiPool && has(self.balancePools) && self.balancePools)")
        .message("multiPool and balancePools are mutually exclusive: multiPool takes one address from every range, balancePools one from the least used range"),
)]
pub struct LocalSpec {
    /// One range of IPv4 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4pool: Option<AddressPool>,
    /// One range of IPv6 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6pool: Option<AddressPool>,
    /// Ranges of IPv4 addresses, used in this order, before `v4pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub v4pools: Option<Vec<AddressPool>>,
    /// Ranges of IPv6 addresses, used in this order, before `v6pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub v6pools: Option<Vec<AddressPool>>,
    /// Every Service gets one address from each range whose subnet some node has.
    #[serde(default)]
    pub multi_pool: bool,
    /// Take addresses from the least used range first.
    #[serde(default)]
    pub balance_pools: bool,
    /// Skip the check for a duplicate before an IPv6 address is used.
    #[serde(default, rename = "skipIPv6DAD")]
    #[schemars(rename = "skipIPv6DAD")]
    pub skip_ipv6_dad: bool,
    /// Version v1: a range of either family, as a CIDR or `from-to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Version v1: the subnet that contains `pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// Version v1: `default` or the length of the prefix on the dummy interface, `/8` to `/128`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<String>,
    /// Set by version v1, not by users: such a group is announced as local addresses where nodes
    /// are in its subnet, and as remote addresses otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<LocalAnnounce>,
}

/// How a `local` group is announced; absent means on a node's own interface, never elsewhere.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalAnnounce {
    /// As version v1 does it: local where nodes are in its subnet, remote otherwise.
    SubnetOrRouted,
}

/// Addresses that every node has on its dummy interface.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.multiPool) && self.multiPool && has(self.balancePools) && self.balancePools)")
        .message("multiPool and balancePools are mutually exclusive: multiPool takes one address from every range, balancePools one from the least used range"),
)]
pub struct RemoteSpec {
    /// One range of IPv4 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4pool: Option<AddressPool>,
    /// One range of IPv6 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v6pool: Option<AddressPool>,
    /// Ranges of IPv4 addresses, used in this order, before `v4pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub v4pools: Option<Vec<AddressPool>>,
    /// Ranges of IPv6 addresses, used in this order, before `v6pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub v6pools: Option<Vec<AddressPool>>,
    /// Every Service gets one address from each range.
    #[serde(default)]
    pub multi_pool: bool,
    /// Take addresses from the least used range first.
    #[serde(default)]
    pub balance_pools: bool,
}

/// A range of addresses and the subnet that it belongs to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AddressPool {
    /// A CIDR or a range `from-to`, both ends included.
    #[schemars(length(max = 128))]
    pub pool: String,
    /// A CIDR that contains the whole range.
    #[schemars(length(max = 64))]
    pub subnet: String,
    /// `default` (the length of `subnet`) or the prefix length on the dummy interface, `/8` to `/128`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^(default|/([89]|[1-9][0-9]|1[01][0-9]|12[0-8]))$')")
        .message("aggregation must be \"default\" or a slash and a prefix length from /8 to /128, such as \"/32\""))]
    pub aggregation: Option<String>,
}

/// Addresses from an IPAM sidecar.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalSpec {
    /// A name for the IPAM system, shown in `.status.ipam`.
    #[schemars(length(min = 1))]
    pub provider: String,
    /// Unix socket of the sidecar inside the allocator's pod; `/var/run/purelb/ipam.sock` if absent.
    #[serde(default = "default_socket")]
    pub socket: String,
    /// How the addresses are announced.
    pub announce: ExternalAnnounce,
}

fn default_socket() -> String {
    "/var/run/purelb/ipam.sock".to_owned()
}

/// How addresses from an IPAM sidecar are announced.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ExternalAnnounce {
    /// On one node's own interface.
    Local,
    /// On the dummy interface of every node.
    Remote,
}

/// Version v1: a Netbox server. No longer supported.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NetboxSpec {
    /// Address of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Netbox tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Prefix length on the dummy interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<String>,
}

/// What the allocator says about a group.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ServiceGroupStatus {
    /// `Local` or `Remote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<String>,
    /// `Cluster`, or the provider of an external group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<String>,
    /// The ranges as they are written, IPv4 first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Distinct IPv4 addresses in use.
    #[serde(rename = "allocatedIPv4")]
    #[schemars(rename = "allocatedIPv4", range(min = 0))]
    pub allocated_ipv4: i64,
    /// Distinct IPv6 addresses in use.
    #[serde(rename = "allocatedIPv6")]
    #[schemars(rename = "allocatedIPv6", range(min = 0))]
    pub allocated_ipv6: i64,
    /// Free IPv4 addresses, at most 9223372036854775807; absent when the capacity is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "availableIPv4")]
    #[schemars(rename = "availableIPv4", range(min = 0))]
    pub available_ipv4: Option<i64>,
    /// Free IPv6 addresses, at most 9223372036854775807; absent when the capacity is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "availableIPv6")]
    #[schemars(rename = "availableIPv6", range(min = 0))]
    pub available_ipv6: Option<i64>,
    /// The namespaces that the group serves, if not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound_namespaces: Vec<String>,
    /// External groups: what the sidecar has not taken back yet; the first 1000. A restarted allocator goes on with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub pending_releases: Vec<PendingRelease>,
    /// `Ready`, `AddressesOutsidePools`, `NearlyFull`, `ReleasesPending`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Addresses of an external group that are to be given back to the sidecar.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PendingRelease {
    /// Namespace and name of the Service that had them.
    pub service: String,
    /// One address; absent means all that the Service had of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}
