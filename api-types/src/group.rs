//! A valid ServiceGroup.
//!
//! | Module | Holds |
//! |---|---|
//! | `pool` | one range with its subnet and aggregation |
//! | `fields` | the fields of the resource that hold ranges, in the forms of both versions |
//! | `error` | why a group is refused |

mod error;
mod fields;
mod pool;

use std::net::IpAddr;

use crate::Family;
use crate::service_group::{ExternalAnnounce, LocalSpec, ServiceGroupSpec};
use fields::Fields;

pub use error::GroupError;
pub use pool::Pool;

/// How the addresses of a group are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Announce {
    /// One node has them on its own interface. They are never on a dummy interface.
    Local,
    /// As local addresses while a known node is in their subnet, otherwise on the dummy interface of every node. This
    /// applies to `remote` groups of version v2 and to `local` groups of version v1 (design, section 1).
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

    /// Parses the value of the annotation `purelb.io/pool-type`.
    #[must_use]
    pub fn from_pool_type(text: &str) -> Option<Self> {
        match text {
            "local" => Some(Self::Local),
            "remote" => Some(Self::SubnetOrRouted),
            _ => None,
        }
    }
}

/// Who allocates the addresses of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ipam {
    /// The allocator itself, from the group's pools.
    Cluster,
    /// A sidecar in the allocator's pod.
    External {
        /// The name of the IPAM system, for display.
        provider: String,
        /// Absolute path of its Unix socket.
        socket: String,
    },
}

/// Which namespaces a group serves (specification, allocation.md 3.1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespaceBinding {
    /// The namespaces as written. An empty list means all.
    pub namespaces: Vec<String>,
    /// Whether Services of these namespaces may use only groups that list the namespace.
    pub enforce: bool,
    /// Whether the group is the default of these namespaces.
    pub default: bool,
}

impl NamespaceBinding {
    /// Whether the group lists the namespace.
    #[must_use]
    pub fn lists(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|listed| listed == namespace)
    }
}

/// A valid ServiceGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name. Names are unique because only groups of the install namespace are used.
    pub name: String,
    /// How its addresses are announced.
    pub announce: Announce,
    /// Who allocates its addresses.
    pub ipam: Ipam,
    /// The pools, IPv4 before IPv6. Within a family the list (`v4pools`) comes first, then the single field (`v4pool`),
    /// then the flat range of version v1. No two pools share an address. External groups have none.
    pub pools: Vec<Pool>,
    /// Whether a Service gets one address from each range.
    pub multi_pool: bool,
    /// Whether a Service gets its address from the least used range.
    pub balance_pools: bool,
    /// Whether duplicate address detection is skipped for IPv6 addresses.
    pub skip_ipv6_dad: bool,
    /// Which namespaces it serves.
    pub binding: NamespaceBinding,
}

impl Group {
    /// Validates a specification.
    ///
    /// # Errors
    /// The first reason why the group cannot be used.
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
                group.pools = Fields::of_remote(remote).pools()?;
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

    /// Whether the group may have addresses of the family. For an external group only its sidecar knows, so the answer
    /// is yes.
    #[must_use]
    pub fn serves(&self, family: Family) -> bool {
        matches!(self.ipam, Ipam::External { .. }) || self.pools_of(family).next().is_some()
    }

    /// The pool that holds the address.
    #[must_use]
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.range.contains(address))
    }
}

/// Whether the group has the meaning of version v1.
///
/// The API server sets `announce` in objects that are written through v1. An object written through v2 can have the
/// flat fields of v1 as well, for example when a tool changed only `apiVersion`. They mean what they mean in v1.
fn is_v1(local: &LocalSpec) -> bool {
    local.announce.is_some() || local.pool.is_some() || local.subnet.is_some() || local.aggregation.is_some()
}

#[cfg(test)]
mod tests;
