//! A ServiceGroup as the allocator keeps it, or the reason why it is refused.

use api_types::{Group, GroupError, Ipam, ServiceGroupStatus};
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
    /// It shares addresses with a group that comes before it by namespace and name.
    #[error(
        "range {ours} overlaps with an already defined pool: {theirs} of group {other}; change one of the two, the group that comes first by namespace and name is used"
    )]
    Overlap {
        /// The range of this group, as written.
        ours: String,
        /// The range of the other group, as written.
        theirs: String,
        /// Namespace and name of the other group.
        other: String,
    },
    /// A group of this name in another namespace comes before it.
    #[error("duplicate definition: group {0} has the same name and is used instead; rename one of them")]
    Duplicate(String),
}

impl GroupRefusal {
    /// The reason of the condition `Ready`.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Spec(error) => error.reason(),
            Self::Unreadable(_) => "Unreadable",
            Self::Overlap { .. } => "OverlappingGroups",
            Self::Duplicate(_) => "DuplicateName",
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
    /// The kind that the specification holds: `local`, `remote`, `external` or `netbox`.
    pub kind: &'static str,
    /// The group, if its specification is valid.
    pub parsed: Result<Group, GroupRefusal>,
    /// Its stored status.
    pub status: Option<ServiceGroupStatus>,
}

/// Namespace and name of a ServiceGroup. Of two groups that overlap, the one that comes first in this order is used.
pub type GroupId = (String, String);

/// Whether an IPAM sidecar gives the addresses of the group.
#[must_use]
pub const fn is_external(group: &Group) -> bool {
    matches!(group.ipam, Ipam::External { .. })
}
