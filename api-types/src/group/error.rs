//! Why a ServiceGroup is refused.

use thiserror::Error;

use crate::{AggregationError, Family, RangeError};

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
    /// The range is not inside its subnet.
    #[error("{field}: range {range} is not contained by network {subnet}: correct the range or the subnet")]
    OutsideSubnet {
        /// Path of the pool below `spec`.
        field: String,
        /// The range as written.
        range: String,
        /// The subnet as written.
        subnet: String,
    },
    /// The range is not of the family that its field is for.
    #[error("{field}: {range} is not an {expected} range: move it to the pools of its own family")]
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
    /// Version v1: the flat range is of a family for which other fields have ranges too.
    #[error("local.pool is an {0} range, and local also has {0} pools: use one form for each family")]
    FlatTwice(Family),
    /// Version v1: one of the two flat fields is missing.
    #[error("local.{given} is set without local.{missing}: set both")]
    FlatIncomplete {
        /// The field that is set.
        given: &'static str,
        /// The field that is missing.
        missing: &'static str,
    },
    /// The group has no range.
    #[error(
        "no valid address range found: set in spec.{0} at least one of v4pool, v4pools, v6pool, v6pools (in version v1 also pool and subnet)"
    )]
    NoRange(&'static str),
    /// The group has no kind, or more than one.
    #[error("pool must specify exactly one of local, remote, or external")]
    Kind,
    /// Both ways to use several ranges are set.
    #[error("multiPool and balancePools are mutually exclusive: remove one of them")]
    MultiAndBalance,
    /// The group is of kind `netbox`, which only earlier releases support.
    #[error(
        "netbox is no longer supported: run an IPAM sidecar for Netbox in the allocator's pod and refer to it in spec.external, or list the ranges in spec.local or spec.remote"
    )]
    Netbox,
    /// The path of the sidecar's socket is not absolute.
    #[error("external.socket must be the absolute path of a Unix socket, not {0:?}")]
    Socket(String),
}

impl GroupError {
    /// The reason of the condition `Ready`: one word in `CamelCase`.
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
