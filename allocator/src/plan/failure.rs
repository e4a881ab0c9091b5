//! Why a Service gets no address. Users' tools match on words of these sentences (specification, api.md 6).

use std::net::IpAddr;

use api_types::Family;
use thiserror::Error;

use super::outcome::Measurement;
use super::select::Denied;
use crate::addresses::Refusal;

/// Why a Service does not get an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// No group serves it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// All addresses of the family are in use.
    #[error(
        "no available addresses: pool {group:?} is exhausted: it has no free {family} address; add a range to it or delete Services that use it"
    )]
    Exhausted {
        /// The group.
        group: String,
        /// The family.
        family: Family,
    },
    /// The groups have no range of the family.
    #[error("no available addresses: {groups} has no {family} range")]
    NoRange {
        /// The groups.
        groups: String,
        /// The family.
        family: Family,
    },
    /// The holders of the address rule it out.
    #[error("{refusal}")]
    Refusal {
        /// The group.
        group: String,
        /// The holder and the reason.
        refusal: Refusal,
    },
    /// The user names something that is not an address.
    #[error("invalid user-specified address {0:?}: write IP addresses separated by commas, without spaces")]
    InvalidAddress(String),
    /// The address lies in no range.
    #[error("{:?} does not belong to any group: it must lie in a range of a ServiceGroup", .0.to_string())]
    NoGroup(IpAddr),
    /// The group asks for both ways to use several ranges.
    #[error("multiPool and balancePools are mutually exclusive: pool {0:?} has balancePools")]
    MultiAndBalance(String),
    /// The Service asks for a shared address and for one of each range.
    #[error(
        "multi-pool and the annotation purelb.io/allow-shared-ip (sharing key) exclude each other: remove one of them"
    )]
    MultiAndSharing,
    /// Its addresses belong to no group, or to several.
    #[error("multi-pool: the {family} addresses of the Service belong to {found}, so no further ranges can be chosen")]
    MultiMismatch {
        /// The family.
        family: Family,
        /// "no group" or the names of several.
        found: String,
    },
    /// No node is in any subnet of the group.
    #[error(
        "no available addresses: no node is in a subnet of pool {0:?}, and multi-pool takes only ranges whose subnet a node has"
    )]
    MultiInactive(String),
    /// The Service asks for several ranges of a group that has none.
    #[error(
        "multi-pool: the addresses of pool {0:?} come from an IPAM sidecar, not from ranges; remove the annotation purelb.io/multi-pool"
    )]
    MultiExternal(String),
    /// The sidecar has not answered yet. This is never reported.
    #[error("the IPAM sidecar of pool {0:?} has not answered yet")]
    SidecarPending(String),
    /// The sidecar gave no usable address.
    #[error("no address from the IPAM sidecar of pool {group:?}: {text}; the allocator asks again")]
    Sidecar {
        /// The group.
        group: String,
        /// The error, or what is wrong with the answer.
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

    /// What is counted for the pool, in addition to [`metric`](Self::metric).
    #[must_use]
    pub fn pool_measurement(&self) -> Option<Measurement> {
        let unknown = || "<unknown>".to_owned();
        match self {
            Self::Sidecar { group, .. } => Some(Measurement::Rejected(group.clone(), "external")),
            Self::Exhausted { group, .. } => Some(Measurement::Rejected(group.clone(), "exhausted")),
            Self::Refusal { group, refusal } => Some(Measurement::Rejected(group.clone(), refusal.metric())),
            Self::MultiAndBalance(_) | Self::MultiAndSharing => {
                Some(Measurement::Rejected(unknown(), "multipool_refused"))
            }
            Self::MultiMismatch { .. } => Some(Measurement::Rejected(unknown(), "multipool_pool_mismatch")),
            _ => None,
        }
    }
}
