//! A valid ServiceGroup.

mod error;
mod fields;

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::service_group::{ExternalAnnounce, LocalSpec, ServiceGroupSpec};
use crate::{AddressRange, Aggregation, Family};
use fields::Fields;

pub use error::GroupError;

/// How the addresses of a group are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Announce {
    /// On one node's own interface, never elsewhere.
    Local,
    /// Local if some known node is in the subnet, else on the dummy interface of every node: v2
    /// `remote` groups, and v1 `local` groups (design, section 1).
    SubnetOrRouted,
}

impl Announce {
    /// The value of the annotation `purelb.io/pool-type`.
    #[must_use]
    pub const fn pool_type(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::SubnetOrRouted => "remote",
        }
    }

    /// Reads the value of the annotation `purelb.io/pool-type`.
    #[must_use]
    pub fn from_pool_type(text: &str) -> Option<Self> {
        match text {
            "local" => Some(Self::Local),
            "remote" => Some(Self::SubnetOrRouted),
            _ => None,
        }
    }
}

/// Who hands out the addresses of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipam {
    /// The allocator itself, from the group's pools.
    Cluster,
    /// A sidecar in the allocator's pod.
    External {
        /// Name to show.
        provider: String,
        /// Absolute path of its Unix socket.
        socket: String,
    },
}

/// Whom a group serves (specification, allocation.md 3.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespaceBinding {
    /// The namespaces as written; empty means all.
    pub namespaces: Vec<String>,
    /// Services of these namespaces may use only groups that list them.
    pub enforce: bool,
    /// The group is the default of these namespaces.
    pub default: bool,
}

impl NamespaceBinding {
    /// Whether the group lists the namespace.
    #[must_use]
    pub fn lists(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|listed| listed == namespace)
    }
}

/// A range of addresses with the subnet and the aggregation that go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The addresses.
    pub range: AddressRange,
    /// The range as it is written in the resource.
    pub text: String,
    /// The subnet as a network: host bits are zero.
    pub subnet: IpNetwork,
    /// The prefix length on the dummy interface; it fits the family.
    pub aggregation: Aggregation,
}

impl Pool {
    /// The prefix length in bits that an address of this pool has on the dummy interface.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.aggregation.prefix_len(self.subnet)
    }
}

/// A ServiceGroup that can be used as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name; names are unique because only groups of the install namespace are used.
    pub name: String,
    /// How its addresses are announced.
    pub announce: Announce,
    /// Who hands out its addresses.
    pub ipam: Ipam,
    /// The pools: IPv4 before IPv6, in each family the plural list, the singular field, the flat
    /// range of v1. No two of them share an address. Empty for external groups.
    pub pools: Vec<Pool>,
    /// One address from each range.
    pub multi_pool: bool,
    /// From the least used range.
    pub balance_pools: bool,
    /// No check for duplicates before an IPv6 address is used.
    pub skip_ipv6_dad: bool,
    /// Whom it serves.
    pub binding: NamespaceBinding,
}

impl Group {
    /// Judges a specification.
    ///
    /// # Errors
    /// The first thing that makes the group unusable.
    pub fn new(name: &str, spec: &ServiceGroupSpec) -> Result<Self, GroupError> {
        let binding = NamespaceBinding {
            namespaces: spec.namespaces.clone().unwrap_or_default(),
            enforce: spec.enforce_namespaces,
            default: spec.namespace_default,
        };
        let mut group = Self {
            name: name.to_owned(),
            announce: Announce::Local,
            ipam: Ipam::Cluster,
            pools: Vec::new(),
            multi_pool: false,
            balance_pools: false,
            skip_ipv6_dad: false,
            binding,
        };
        match (&spec.local, &spec.remote, &spec.external) {
            (Some(local), None, None) => {
                group.announce = if is_v1(local) { Announce::SubnetOrRouted } else { Announce::Local };
                group.multi_pool = local.multi_pool;
                group.balance_pools = local.balance_pools;
                group.skip_ipv6_dad = local.skip_ipv6_dad;
                group.pools = Fields::of_local(local).pools()?;
            }
            (None, Some(remote), None) => {
                group.announce = Announce::SubnetOrRouted;
                group.multi_pool = remote.multi_pool;
                group.balance_pools = remote.balance_pools;
                let fields = Fields {
                    parent: "remote",
                    v4pools: remote.v4pools.as_deref(),
                    v4pool: remote.v4pool.as_ref(),
                    v6pools: remote.v6pools.as_deref(),
                    v6pool: remote.v6pool.as_ref(),
                    flat: None,
                };
                group.pools = fields.pools()?;
            }
            (None, None, Some(external)) => {
                if !external.socket.starts_with('/') {
                    return Err(GroupError::Socket(external.socket.clone()));
                }
                group.announce = match external.announce {
                    ExternalAnnounce::Local => Announce::Local,
                    ExternalAnnounce::Remote => Announce::SubnetOrRouted,
                };
                group.ipam = Ipam::External { provider: external.provider.clone(), socket: external.socket.clone() };
            }
            (None, None, None) if spec.netbox.is_some() => return Err(GroupError::Netbox),
            _ => return Err(GroupError::Kind),
        }
        if group.multi_pool && group.balance_pools {
            return Err(GroupError::MultiAndBalance);
        }
        Ok(group)
    }

    /// The pools of one family, in order of use.
    pub fn pools_of(&self, family: Family) -> impl Iterator<Item = &Pool> {
        self.pools.iter().filter(move |pool| pool.range.family() == family)
    }

    /// Whether the group can give addresses of the family; external groups may.
    #[must_use]
    pub fn serves(&self, family: Family) -> bool {
        matches!(self.ipam, Ipam::External { .. }) || self.pools_of(family).next().is_some()
    }

    /// The pool that holds the address.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.range.contains(address))
    }

    /// A pool of each group that shares an address with the other: (ours, theirs).
    #[must_use]
    pub fn overlap<'a>(&'a self, other: &'a Self) -> Option<(&'a Pool, &'a Pool)> {
        self.pools.iter().find_map(|ours| {
            other.pools.iter().find(|theirs| theirs.range.overlaps(ours.range)).map(|theirs| (ours, theirs))
        })
    }
}

/// Objects written through v1 carry the marker. One written through v2 may have the flat fields all
/// the same, by mistake or by a tool that changed only `apiVersion`; they mean what they mean in v1.
fn is_v1(local: &LocalSpec) -> bool {
    local.announce.is_some() || local.pool.is_some() || local.subnet.is_some() || local.aggregation.is_some()
}

#[cfg(test)]
mod tests;
