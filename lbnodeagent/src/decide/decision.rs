//! Decisions about addresses.

use crate::decide::reason::Reason;
use crate::model::candidacy::Candidacy;
use crate::model::placement::Placement;

/// What to do about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Where it is, if local, or goes, if remote; nothing if not here.
    pub placement: Option<Placement>,
    /// Purpose.
    pub reason: Reason,
}

impl Decision {
    pub(super) const fn new(placement: Option<Placement>, reason: Reason) -> Self {
        Self { placement, reason }
    }
}

/// Whether this node takes part in answering for a local address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Participation {
    /// No, or the address is not local.
    No,
    /// Not known now: as before.
    Unchanged,
    /// Yes, and so.
    Yes(Box<Candidacy>),
}

/// Whether a node is excluded from load balancers, which counts only as long as not every node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// No.
    No,
    /// Yes.
    Yes,
    /// It carries the label, and whether all others do too is not known yet.
    Unknown,
}
