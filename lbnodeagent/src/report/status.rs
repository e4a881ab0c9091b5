//! What is known of one address on this node.

use jiff::Timestamp;

use super::annotation::Role;
use crate::decide::decision::Decision;
use crate::decide::reason::Reason;
use crate::model::observed::Observed;
use crate::model::operation::Failure;
use crate::model::placement::{Kind, Placement};

/// What is known of one address on this node.
#[derive(Debug)]
pub struct Status {
    /// What this node should do about it.
    pub decision: Decision,
    /// When the decision was made.
    pub since: Timestamp,
    /// Where it is in the kernel because of us.
    pub placed: Option<Placement>,
    /// Whether the kernel has reported it there.
    pub seen: bool,
    /// The last refusal of the kernel, until the kernel accepts, or until the address is neither wanted nor here any
    /// more.
    pub failure: Option<Failure>,
}

impl Status {
    /// A first decision.
    #[must_use]
    pub fn new(decision: Decision) -> Self {
        Self { decision, since: Timestamp::now(), placed: None, seen: false, failure: None }
    }

    /// This node's role in the annotation that says who announces the address.
    #[must_use]
    pub fn role(&self, observed: &Observed) -> Role {
        match (self.placed, &self.decision.reason) {
            (Some(placed), _) if placed.kind == Kind::Local => {
                Role::Announces(observed.name_of(placed.key.index).to_owned())
            }
            (None, Reason::NotOwner | Reason::Undecided) => Role::NotOwner,
            _ => Role::CannotAnnounce,
        }
    }
}
