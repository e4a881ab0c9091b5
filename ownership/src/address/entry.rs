//! What this node knows of one address.

use std::sync::Arc;
use std::time::Duration;

use crate::address::askers::Askers;
use crate::address::state::State;
use crate::io::ClaimReason;
use crate::model::node::{Mac, NodeId};
use crate::model::spec::AddressSpec;
use crate::model::time::Time;
use crate::wire::Epoch;

/// An address that this node knows of.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// How it is to be served; nothing while no Service is known to use it.
    pub spec: Option<Arc<AddressSpec>>,
    /// Whether it is in the kernel of this node, as far as is known.
    pub in_kernel: bool,
    pub state: State,
    /// The highest epoch ever seen.
    pub highest_epoch: Epoch,
    /// Since when nobody claims it.
    pub unclaimed_since: Option<Time>,
    pub backoff: Backoff,
    /// The last look at the address, if this node did not get it.
    pub look: Option<Look>,
    /// When it was last asked for before an alarm.
    pub asked_early: Option<Time>,
    /// A kernel that answers for it, whose agent cannot be asked and may have it.
    pub unnamed: Option<Unnamed>,
    /// The member that said last that its kernel has the address from somebody else.
    pub foreign: Option<NodeId>,
    /// How long the kernel of a silent agent took to answer for it at the last look.
    pub round_trip: Option<Duration>,
    /// The hosts that asked for it.
    pub askers: Askers,
    /// Whether it was reported that exclusion is ignored for it.
    pub exclusion_ignored: bool,
    /// The value of the rebalance annotation that was dealt with.
    pub rebalanced: u64,
    /// Who had it before this node, or whom it went to.
    pub other_owner: Option<NodeId>,
    /// The last thing that happened to it here, for people.
    pub last: &'static str,
    /// When it is next due in the queue.
    pub wake: Option<Time>,
    /// It is to be looked at once more before the call of the machine ends.
    pub look_again: bool,
}

impl Entry {
    /// The next look is a first one, and comes at once.
    pub fn forget_look(&mut self) {
        match self.state {
            // This one still counts its questions.
            State::Probing(_) => {}
            State::Waiting { .. } => {
                self.look = None;
                if self.backoff.until.is_none() {
                    self.state = State::Idle;
                }
            }
            State::Idle | State::Accepted(_) | State::Owned(_) => self.look = None,
        }
    }
}

/// A look at an address: the questions of one attempt to claim it.
#[derive(Debug)]
pub(super) struct Look {
    pub cause: ClaimReason,
    /// How many questions it has sent to everybody on the link.
    pub asked: u32,
    /// For how many it had its turn.
    pub granted: u32,
    /// Whether it is a repeated one.
    pub further: bool,
    /// Whether it began before an alarm, so that its turn is none to announce the address.
    pub early: bool,
    /// When the next one with this cause has its turn; nothing if it has not asked for one.
    pub turn: Option<Time>,
}

/// A kernel that answers for an address that nobody living is known to have.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub node: NodeId,
    /// Since when it answers.
    pub since: Time,
    /// When it last did.
    pub last: Time,
}

/// Why nothing is begun yet: a contention, a foreign host, a kernel that serves or refuses.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Nothing is begun before this time.
    pub until: Option<Time>,
    /// Consecutive refusals by a foreign host,
    pub conflicts: u32,
    /// and the last one's hardware address.
    pub host: Option<Mac>,
    /// When this node last stepped back from a member that asked for the address too.
    pub contended: Option<Time>,
}
