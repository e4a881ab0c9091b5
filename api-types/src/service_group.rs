//! The resource ServiceGroup, versions v1 and v2.
//!
//! One Rust type serves both versions, and the schema of the custom resource definition is the union of both. The
//! versions differ only in the default of [`LocalSpec::announce`].

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
    /// Local addresses: one node at a time has each address on its own network interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalSpec>,
    /// Remote addresses: every node has them on its dummy interface, and routing software advertises them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteSpec>,
    /// External addresses: an IPAM sidecar in the allocator's pod allocates them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalSpec>,
    /// Version v1 only, and no longer supported. Use `external` with an IPAM sidecar for Netbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netbox: Option<NetboxSpec>,
    /// The namespaces whose Services this group serves. If it is absent, it serves all namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), inner(length(max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")))]
    pub namespaces: Option<Vec<String>>,
    /// Whether Services in the listed namespaces may use only groups that list their namespace.
    #[serde(default)]
    pub enforce_namespaces: bool,
    /// Whether this group is the default of the listed namespaces.
    #[serde(default)]
    pub namespace_default: bool,
}

/// Ranges of local addresses. Version v1 uses `pool`, `subnet` and `aggregation` in place of the lists.
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
    /// Ranges of IPv4 addresses, used in this order and before `v4pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub v4pools: Option<Vec<AddressPool>>,
    /// Ranges of IPv6 addresses, used in this order and before `v6pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub v6pools: Option<Vec<AddressPool>>,
    /// Whether each Service gets one address from every range whose subnet contains a node.
    #[serde(default)]
    pub multi_pool: bool,
    /// Whether addresses are taken from the least used range first.
    #[serde(default)]
    pub balance_pools: bool,
    /// Whether nodes skip duplicate address detection for IPv6 addresses of this group.
    #[serde(default, rename = "skipIPv6DAD")]
    #[schemars(rename = "skipIPv6DAD")]
    pub skip_ipv6_dad: bool,
    /// Version v1: a range of either address family, as a CIDR or in the form `from-to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Version v1: the subnet that contains `pool`, as a CIDR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// Version v1: the prefix length of the addresses on the dummy interface, `/8` to `/128`, or `default` for that of
    /// `subnet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<String>,
    /// Set by version v1, not by users. Addresses of such a group are local while a node is in their subnet, and remote
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<LocalAnnounce>,
}

/// How a `local` group is announced. If it is absent, its addresses are always local.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalAnnounce {
    /// As in version v1: addresses are local while a node is in their subnet, and remote otherwise.
    SubnetOrRouted,
}

/// Ranges of remote addresses.
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
    /// Ranges of IPv4 addresses, used in this order and before `v4pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub v4pools: Option<Vec<AddressPool>>,
    /// Ranges of IPv6 addresses, used in this order and before `v6pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub v6pools: Option<Vec<AddressPool>>,
    /// Whether each Service gets one address from every range.
    #[serde(default)]
    pub multi_pool: bool,
    /// Whether addresses are taken from the least used range first.
    #[serde(default)]
    pub balance_pools: bool,
}

/// A range of addresses and the subnet that it belongs to.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AddressPool {
    /// The range, as a CIDR or in the form `from-to`. Both ends belong to it.
    #[schemars(length(max = 128))]
    pub pool: String,
    /// The subnet that contains the whole range, as a CIDR.
    #[schemars(length(max = 64))]
    pub subnet: String,
    /// The prefix length of the addresses on the dummy interface, `/8` to `/128`, or `default` for that of `subnet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^(default|/([89]|[1-9][0-9]|1[01][0-9]|12[0-8]))$')")
        .message("aggregation must be \"default\" or a slash and a prefix length from /8 to /128, such as \"/32\""))]
    pub aggregation: Option<String>,
}

/// Addresses that an IPAM sidecar allocates.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalSpec {
    /// A name for the IPAM system, shown in `.status.ipam`.
    #[schemars(length(min = 1))]
    pub provider: String,
    /// The absolute path of the sidecar's Unix socket in the allocator's pod. Defaults to `/var/run/purelb/ipam.sock`.
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
    /// As local addresses: one node at a time has each address on its own network interface.
    Local,
    /// As remote addresses: every node has them on its dummy interface.
    Remote,
}

/// Version v1 only, and no longer supported: a Netbox server.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NetboxSpec {
    /// The URL of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The Netbox tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The prefix length of the addresses on the dummy interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<String>,
}

/// The state of a group, written by the allocator.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ServiceGroupStatus {
    /// How the addresses are announced: `Local` or `Remote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<String>,
    /// Where the addresses come from: `Cluster`, or the provider of an external group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<String>,
    /// The ranges as they are written, IPv4 first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// The number of IPv4 addresses in use. An address that Services share counts once.
    #[serde(rename = "allocatedIPv4")]
    #[schemars(rename = "allocatedIPv4", range(min = 0))]
    pub allocated_ipv4: i64,
    /// The number of IPv6 addresses in use. An address that Services share counts once.
    #[serde(rename = "allocatedIPv6")]
    #[schemars(rename = "allocatedIPv6", range(min = 0))]
    pub allocated_ipv6: i64,
    /// The number of free IPv4 addresses, at most 9223372036854775807. Absent if the capacity is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "availableIPv4")]
    #[schemars(rename = "availableIPv4", range(min = 0))]
    pub available_ipv4: Option<i64>,
    /// The number of free IPv6 addresses, at most 9223372036854775807. Absent if the capacity is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "availableIPv6")]
    #[schemars(rename = "availableIPv6", range(min = 0))]
    pub available_ipv6: Option<i64>,
    /// The namespaces that the group serves. Absent if it serves all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound_namespaces: Vec<String>,
    /// External groups only: addresses that the sidecar still has to release, at most 1000. A restarted allocator
    /// continues with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub pending_releases: Vec<PendingRelease>,
    /// The conditions `Ready`, `AddressesOutsidePools`, `NearlyFull` and `ReleasesPending`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Addresses of an external group that the sidecar still has to release.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PendingRelease {
    /// The namespace and name of the Service that had them.
    pub service: String,
    /// The address. If it is absent, all addresses that the Service had from this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}
