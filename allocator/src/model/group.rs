//! A ServiceGroup as the allocator keeps it, or the reason why it is refused.

use api_types::names::group_condition::ready_reason;
use api_types::{Group, GroupError, Ipam, NotInForce, ServiceGroupStatus};
use ipnetwork::IpNetwork;
use thiserror::Error;

/// Why a ServiceGroup is not used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupRefusal {
    /// Its specification is wrong.
    #[error(transparent)]
    Spec(#[from] GroupError),
    /// The stored object does not fit the schema. An older definition may have accepted it.
    #[error("the stored object cannot be read: {0}; apply the ServiceGroup again")]
    Unreadable(String),
    /// Another group has its addresses or its name.
    #[error(transparent)]
    NotInForce(#[from] NotInForce),
    /// It has addresses of a network of cluster IPs.
    #[error(
        "range {range} overlaps with {network} of the ServiceCIDR {name:?}, from which Services get their cluster IPs: choose another range"
    )]
    ServiceNetwork {
        /// The range of this group, as written.
        range: String,
        /// The network.
        network: IpNetwork,
        /// The name of the ServiceCIDR.
        name: String,
    },
}

impl GroupRefusal {
    /// The reason of the condition `Ready`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Spec(error) => error.reason(),
            Self::Unreadable(_) => "Unreadable",
            Self::NotInForce(NotInForce::Overlap { .. }) => "OverlappingGroups",
            Self::ServiceNetwork { .. } => ready_reason::OVERLAPS_SERVICE_CIDR,
            Self::NotInForce(NotInForce::Duplicate(_)) => "DuplicateName",
        }
    }
}

/// A ServiceGroup as the allocator keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupObject {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID. A group that is deleted and created again is another object.
    pub uid: String,
    /// The generation of its specification.
    pub generation: i64,
    /// When it was created, in seconds since the epoch.
    pub created: i64,
    /// The kind that the specification holds: `local`, `remote`, `external` or `netbox`.
    pub kind: &'static str,
    /// The group, if its specification is valid.
    pub parsed: Result<Group, GroupRefusal>,
    /// Its stored status.
    pub status: Option<ServiceGroupStatus>,
}

/// Whether an IPAM sidecar gives the addresses of the group.
#[must_use]
pub const fn is_external(group: &Group) -> bool {
    matches!(group.ipam, Ipam::External { .. })
}
