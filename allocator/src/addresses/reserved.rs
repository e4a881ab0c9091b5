//! Addresses that no Service should be given, and whose they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::AddressRange;
use api_types::reserved::SubnetRole;
use ipnetwork::IpNetwork;

use crate::model::ServiceName;

/// Whose a reserved address is. Of several, the first in this order is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservedFor {
    /// The kernel of this node has it, and not from us.
    NodeKernel(Arc<str>),
    /// The status of this Node lists it.
    NodeStatus(Arc<str>),
    /// A route of this node goes over it.
    Gateway(Arc<str>),
    /// No host may use it in this subnet.
    Subnet(SubnetRole, IpNetwork),
    /// It is in `spec.externalIPs` of this Service. Anybody may write that field, so such an address is avoided, not
    /// forbidden.
    ExternalIp(ServiceName),
}

impl ReservedFor {
    /// Whether no Service may be given the address. Otherwise it is given when no other is free.
    #[must_use]
    pub const fn forbids(&self) -> bool {
        !matches!(self, Self::ExternalIp(_))
    }

    /// Whose it is, for people who may see this namespace and no other.
    #[must_use]
    pub fn seen_from(&self, namespace: &str) -> String {
        match self {
            Self::ExternalIp(service) if service.namespace() != namespace => {
                "an external IP of a Service of another namespace".to_owned()
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for ReservedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeKernel(node) | Self::NodeStatus(node) => write!(f, "{node}'s own address"),
            Self::Gateway(node) => write!(f, "a gateway of {node}"),
            Self::Subnet(role, subnet) => write!(f, "the {role} of {subnet}"),
            Self::ExternalIp(service) => write!(f, "an external IP of {service}"),
        }
    }
}

/// How much an address is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// Not at all.
    None,
    /// It is given when no other is free.
    Avoided,
    /// It is never given.
    Forbidden,
}

/// All reserved addresses.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    by_address: BTreeMap<IpAddr, BTreeSet<ReservedFor>>,
    by_owner: HashMap<ReservedFor, Box<[IpAddr]>>,
}

impl Reserved {
    /// Replaces the addresses that are reserved for this. Returns those that were added or removed. O(log n) for each.
    pub(super) fn set(&mut self, reserved_for: &ReservedFor, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let known = self.by_owner.get(reserved_for).map(|known| &**known).unwrap_or_default();
        if known == addresses {
            return Vec::new();
        }
        let added: Vec<IpAddr> = addresses.iter().copied().filter(|address| !known.contains(address)).collect();
        let removed: Vec<IpAddr> = known.iter().copied().filter(|address| !addresses.contains(address)).collect();
        if addresses.is_empty() {
            self.by_owner.remove(reserved_for);
        } else {
            self.by_owner.insert(reserved_for.clone(), addresses.into());
        }
        for &address in &added {
            self.by_address.entry(address).or_default().insert(reserved_for.clone());
        }
        for address in &removed {
            if let Some(reasons) = self.by_address.get_mut(address) {
                reasons.remove(reserved_for);
                if reasons.is_empty() {
                    self.by_address.remove(address);
                }
            }
        }
        added.into_iter().chain(removed).collect()
    }

    /// For whom the address is reserved, in order.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = &ReservedFor> {
        self.by_address.get(&address).into_iter().flatten()
    }

    pub(super) fn strength(&self, address: IpAddr) -> Strength {
        match self.by_address.get(&address) {
            None => Strength::None,
            Some(reasons) if reasons.iter().any(ReservedFor::forbids) => Strength::Forbidden,
            Some(_) => Strength::Avoided,
        }
    }

    /// The reserved addresses of a range, in order.
    pub(super) fn within(&self, range: AddressRange) -> impl Iterator<Item = IpAddr> {
        self.by_address.range(range.first()..=range.last()).map(|(&address, _)| address)
    }
}
