//! Decisions about addresses.

use crate::decide::reason::Reason;
use crate::model::candidacy::Candidacy;
use crate::model::placement::Placement;

/// The decision about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// For a local address, where it is; for a remote one, where it goes; nothing if it does not belong here.
    pub placement: Option<Placement>,
    /// The reason.
    pub reason: Reason,
}

impl Decision {
    pub(super) const fn new(placement: Option<Placement>, reason: Reason) -> Self {
        Self { placement, reason }
    }
}

/// Whether this node is a candidate for a local address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Participation {
    /// It is not, or the address is not local.
    No,
    /// It is not known now, so nothing changes.
    Unchanged,
    /// It is.
    Yes(Box<Candidacy>),
}

/// Whether a node is excluded from load balancers. The label has an effect only as long as not every node has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// The node is not excluded.
    No,
    /// The node is excluded.
    Yes,
    /// The node has the label, and it is not known yet whether all others have it too.
    Unknown,
}
