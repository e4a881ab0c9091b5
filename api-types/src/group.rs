//! A valid ServiceGroup.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use thiserror::Error;

use crate::range::parse_cidr;
use crate::service_group::{AddressPool, ExternalAnnounce, LocalSpec, ServiceGroupSpec};
use crate::{AddressRange, Aggregation, AggregationError, Family, RangeError};

/// Why a ServiceGroup is refused. The text is shown in its condition `Ready` and in its event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupError {
    /// A range cannot be read.
    #[error("{field}: {source}")]
    Range {
        /// Path of the field below `spec`.
        field: String,
        /// What is wrong with it.
        source: RangeError,
    },
    /// A subnet cannot be read.
    #[error("{field}: invalid subnet {text:?}: write a CIDR such as 192.0.2.0/24")]
    Subnet {
        /// Path of the field below `spec`.
        field: String,
        /// The text.
        text: String,
    },
    /// An aggregation cannot be used.
    #[error("{field}: {source}")]
    Aggregation {
        /// Path of the field below `spec`.
        field: String,
        /// What is wrong with it.
        source: AggregationError,
    },
    /// The range leaves its subnet.
    #[error("{field}: range {range} is not contained by network {subnet}: correct the range or the subnet")]
    OutsideSubnet {
        /// Path of the pool below `spec`.
        field: String,
        /// The range as written.
        range: String,
        /// The subnet as written.
        subnet: String,
    },
    /// The range is of the other family than its field says.
    #[error("{field}: {range} is no {expected} range: move it to the pool of its own family")]
    WrongFamily {
        /// Path of the pool below `spec`.
        field: String,
        /// The range as written.
        range: String,
        /// What the field holds.
        expected: Family,
    },
    /// Two ranges of this group share addresses.
    #[error("{first} ({first_range}) and {second} ({second_range}) overlap: an address may be in one range only")]
    InnerOverlap {
        /// Path of one pool.
        first: String,
        /// Its range as written.
        first_range: String,
        /// Path of the other pool.
        second: String,
        /// Its range as written.
        second_range: String,
    },
    /// Version v1: the flat range is of a family that other fields give too.
    #[error("local.pool is an {0} range, and local also has {0} pools: give each family in one form only")]
    FlatTwice(Family),
    /// Version v1: a flat field lacks its companion.
    #[error("local.{given} is given without local.{missing}: a range needs both")]
    FlatIncomplete {
        /// The field that is there.
        given: &'static str,
        /// The field that is not.
        missing: &'static str,
    },
    /// No range at all.
    #[error(
        "no valid address range found: give spec.{0} at least one of v4pool, v4pools, v6pool, v6pools (in version v1 also pool and subnet)"
    )]
    NoRange(&'static str),
    /// None of the kinds, or more than one.
    #[error("pool must specify exactly one of local, remote, or external")]
    Kind,
    /// Both ways to use several ranges.
    #[error("multiPool and balancePools are mutually exclusive: keep one of them")]
    MultiAndBalance,
    /// Version v1's Netbox client is gone.
    #[error(
        "netbox is no longer supported: run an IPAM sidecar for Netbox in the allocator's pod and name it in spec.external, or give the ranges in spec.local or spec.remote"
    )]
    Netbox,
    /// No socket to reach the sidecar by.
    #[error("external.socket must be the absolute path of a Unix socket, not {0:?}")]
    Socket(String),
}

impl GroupError {
    /// The reason for a condition: one word in `CamelCase`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Range { .. } | Self::WrongFamily { .. } => "InvalidRange",
            Self::Subnet { .. } => "InvalidSubnet",
            Self::Aggregation { .. } => "InvalidAggregation",
            Self::OutsideSubnet { .. } => "RangeOutsideSubnet",
            Self::InnerOverlap { .. } => "OverlappingRanges",
            Self::NoRange(_) | Self::FlatIncomplete { .. } => "NoRange",
            Self::FlatTwice(_) | Self::Kind | Self::MultiAndBalance => "Contradiction",
            Self::Netbox => "NetboxUnsupported",
            Self::Socket(_) => "InvalidSocket",
        }
    }
}

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

/// Objects written through v1 carry the marker; those stored by a release that knew only v1 do
/// not, but only v1 has the flat fields.
fn is_v1(local: &LocalSpec) -> bool {
    local.announce.is_some() || local.pool.is_some() || local.subnet.is_some() || local.aggregation.is_some()
}

/// The range fields of one kind of group.
struct Fields<'a> {
    parent: &'static str,
    v4pools: Option<&'a [AddressPool]>,
    v4pool: Option<&'a AddressPool>,
    v6pools: Option<&'a [AddressPool]>,
    v6pool: Option<&'a AddressPool>,
    flat: Option<&'a LocalSpec>,
}

impl<'a> Fields<'a> {
    fn of_local(local: &'a LocalSpec) -> Self {
        Self {
            parent: "local",
            v4pools: local.v4pools.as_deref(),
            v4pool: local.v4pool.as_ref(),
            v6pools: local.v6pools.as_deref(),
            v6pool: local.v6pool.as_ref(),
            flat: Some(local),
        }
    }

    fn pools(&self) -> Result<Vec<Pool>, GroupError> {
        let mut found: Vec<(String, Pool)> = Vec::new();
        for (family, name, list, single) in
            [(Family::V4, "v4pool", self.v4pools, self.v4pool), (Family::V6, "v6pool", self.v6pools, self.v6pool)]
        {
            for (index, written) in list.unwrap_or_default().iter().enumerate() {
                let field = format!("{}.{name}s[{index}]", self.parent);
                found.push((field.clone(), pool(&field, written, Some(family))?));
            }
            if let Some(written) = single {
                let field = format!("{}.{name}", self.parent);
                found.push((field.clone(), pool(&field, written, Some(family))?));
            }
        }
        if let Some(flat) = self.flat.map(flat_pool).transpose()?.flatten() {
            let family = flat.range.family();
            if found.iter().any(|(_, pool)| pool.range.family() == family) {
                return Err(GroupError::FlatTwice(family));
            }
            found.push(("local".to_owned(), flat));
        }
        if found.is_empty() {
            return Err(GroupError::NoRange(self.parent));
        }
        for (index, (first, one)) in found.iter().enumerate() {
            for (second, other) in found.iter().skip(index + 1) {
                if one.range.overlaps(other.range) {
                    return Err(GroupError::InnerOverlap {
                        first: first.clone(),
                        first_range: one.text.clone(),
                        second: second.clone(),
                        second_range: other.text.clone(),
                    });
                }
            }
        }
        found.sort_by_key(|(_, pool)| pool.range.family());
        Ok(found.into_iter().map(|(_, pool)| pool).collect())
    }
}

/// The flat range of version v1, if there is one.
fn flat_pool(local: &LocalSpec) -> Result<Option<Pool>, GroupError> {
    match (&local.pool, &local.subnet) {
        (Some(range), Some(subnet)) => {
            let written =
                AddressPool { pool: range.clone(), subnet: subnet.clone(), aggregation: local.aggregation.clone() };
            pool("local", &written, None).map(Some)
        }
        (Some(_), None) => Err(GroupError::FlatIncomplete { given: "pool", missing: "subnet" }),
        (None, Some(_)) => Err(GroupError::FlatIncomplete { given: "subnet", missing: "pool" }),
        (None, None) => Ok(None),
    }
}

fn pool(field: &str, written: &AddressPool, expected: Option<Family>) -> Result<Pool, GroupError> {
    let range: AddressRange =
        written.pool.parse().map_err(|source| GroupError::Range { field: format!("{field}.pool"), source })?;
    let family = range.family();
    if let Some(expected) = expected.filter(|expected| *expected != family) {
        return Err(GroupError::WrongFamily { field: field.to_owned(), range: written.pool.clone(), expected });
    }
    let subnet = parse_cidr(&written.subnet)
        .and_then(|network| IpNetwork::new(network.network(), network.prefix()).ok())
        .ok_or_else(|| GroupError::Subnet { field: format!("{field}.subnet"), text: written.subnet.clone() })?;
    let network = AddressRange::of_network(subnet);
    if !(network.contains(range.first()) && network.contains(range.last())) {
        return Err(GroupError::OutsideSubnet {
            field: field.to_owned(),
            range: written.pool.clone(),
            subnet: written.subnet.clone(),
        });
    }
    let aggregation = written
        .aggregation
        .as_deref()
        .map_or(Ok(Aggregation::Subnet), str::parse)
        .and_then(|aggregation: Aggregation| aggregation.fits(family))
        .map_err(|source| GroupError::Aggregation { field: format!("{field}.aggregation"), source })?;
    Ok(Pool { range, text: written.pool.clone(), subnet, aggregation })
}

#[cfg(test)]
mod tests;
