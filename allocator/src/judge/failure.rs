//! Why something could not be had. Tools match on words of these sentences (api.md 6).

use std::net::IpAddr;

use api_types::Family;
use thiserror::Error;

use super::Count;
use crate::pool::Refusal;
use crate::select::Denied;

/// Why a Service does not get an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// No group serves it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// All addresses of the family are in use.
    #[error("no available addresses: pool {group:?} is exhausted in {family}; add a range to it or release Services")]
    Exhausted {
        /// The group.
        group: String,
        /// The family.
        family: Family,
    },
    /// No range of the family.
    #[error("no available addresses: {groups} has no {family} range")]
    NoRange {
        /// The groups that were asked.
        groups: String,
        /// The family.
        family: Family,
    },
    /// Other Services are in the way.
    #[error("{refusal}")]
    Refusal {
        /// The group.
        group: String,
        /// Who and why.
        refusal: Refusal,
    },
    /// Not an address.
    #[error("invalid user-specified address {0:?}: write IP addresses joined by commas, without spaces")]
    InvalidAddress(String),
    /// In no range.
    #[error("{:?} does not belong to any group: it must lie in a range of a ServiceGroup", .0.to_string())]
    NoGroup(IpAddr),
    /// Both ways to use several ranges.
    #[error("multiPool and balancePools are mutually exclusive: pool {0:?} has balancePools")]
    MultiAndBalance(String),
    /// One shared address, or one of each range.
    #[error(
        "multi-pool and the annotation purelb.io/allow-shared-ip (sharing key) exclude each other: remove one of them"
    )]
    MultiAndSharing,
    /// Its addresses belong to no group, or to several.
    #[error("multi-pool: the {family} addresses of the Service belong to {found}, so no further ranges can be chosen")]
    MultiMismatch {
        /// The family.
        family: Family,
        /// No group or several.
        found: String,
    },
    /// No node is in any subnet of the group.
    #[error(
        "no available addresses: no node is in a subnet of pool {0:?}, and multi-pool takes only ranges whose subnet a node has"
    )]
    MultiInactive(String),
    /// Several ranges of a group that has none.
    #[error(
        "multi-pool: the addresses of pool {0:?} come from an IPAM sidecar, not from ranges; remove the annotation purelb.io/multi-pool"
    )]
    MultiExternal(String),
    /// The sidecar has been asked; no reason to say anything yet.
    #[error("the IPAM sidecar of pool {0:?} has not answered yet")]
    Asking(String),
    /// No address from a sidecar.
    #[error("no address from the IPAM sidecar of pool {group:?}: {text}; it is asked again")]
    Sidecar {
        /// The group.
        group: String,
        /// What it says, or what is wrong with what it says.
        text: String,
    },
}

impl Failure {
    /// The value of the label `reason` of `purelb_address_pool_allocation_rejected_total`.
    #[must_use]
    pub const fn metric(&self) -> &'static str {
        match self {
            Self::Denied(denied) => denied.metric(),
            _ => "other",
        }
    }

    /// What the pool itself counts, beside the above.
    #[must_use]
    pub fn pool_count(&self) -> Option<Count> {
        let unknown = || "<unknown>".to_owned();
        match self {
            Self::Sidecar { group, .. } => Some(Count::Rejected(group.clone(), "external")),
            Self::Exhausted { group, .. } => Some(Count::Rejected(group.clone(), "exhausted")),
            Self::Refusal { group, refusal } => Some(Count::Rejected(group.clone(), refusal.metric())),
            Self::MultiAndBalance(_) | Self::MultiAndSharing => Some(Count::Rejected(unknown(), "multipool_refused")),
            Self::MultiMismatch { .. } => Some(Count::Rejected(unknown(), "multipool_pool_mismatch")),
            _ => None,
        }
    }
}
