//! The states of an address on one node.
//!
//! # States and transitions
//!
//! | State | Event | Next state | Function |
//! |---|---|---|---|
//! | [`Idle`](State::Idle) | the kernel has the address when the agent starts | `Owned` | `Step::adopt` |
//! | | nobody alive has the address, and this node is a candidate | `Waiting`, or `Probing` at once | `Step::idle` |
//! | | as before, `skip-ipv6-dad` is set, and this node is the first choice | `Owned` | `Step::begin` |
//! | | its owner offers it; so from `Waiting`, `Probing`, `Accepted` | `Accepted` | `Step::offered` |
//! | [`Waiting`](State::Waiting) | its time comes | `Probing` | `Step::waiting` |
//! | | somebody alive has the address | `Idle` | `Step::waiting` |
//! | [`Probing`](State::Probing) | nobody answers, and this node hears | `Owned` | `Step::probes_unanswered` |
//! | | a member says that it claims the address, or somebody alive claims it | `Idle` | `Step::claim_reply_while_probing`, `Step::probing` |
//! | | a member says that its kernel has it as a route, or that it knows nothing of it | `Probing`, without its answers | `Step::strict_arp_needed` |
//! | | a member says that its kernel has it from somebody else, policy Enforce | `Waiting` (backoff) | `Step::conflict` |
//! | | a kernel answers whose agent is silent, and may have it | `Waiting` (250 ms) | `Step::silent_holder` |
//! | | a kernel answers whose agent speaks another version, and `announcing-*` gives it the address | `Waiting` (5 s) | `Step::silent_holder` |
//! | | a kernel answers whose agent cannot be asked, and that does not have it | `Probing`, without its answers | `Step::strict_arp_needed` |
//! | | a foreign host answers, policy Enforce | `Waiting` (backoff) | `Step::foreign_host` |
//! | | a better candidate probes too | `Waiting` (500 ms); `Probing` for longer, if that was so less than 3 s ago | `Addresses::questioned`, `Step::contention` |
//! | | an alarm: what was asked of a silent agent's kernel does not count | `Idle`, and looked at again | `Step::probing` |
//! | [`Accepted`](State::Accepted) | the owner says go | `Owned`, without probing | `Step::go` |
//! | | no go within 250 ms | `Probing` | `Step::accepted` |
//! | [`Owned`](State::Owned) | no Service uses it any more; its link is broken | `Idle` | `Step::owned` |
//! | | a stronger claim whose owner answers | `Idle` | `Step::claim_reply_while_owned` |
//! | | the kernel refuses it | `Waiting` (5 s) | `Step::add_failed` |
//! | | a member says twice, a second apart, that its kernel has it from somebody else; policy Enforce | `Waiting` (5 s) | `Step::held_foreign` |
//! | | this node does not qualify, and a member of another version announces it | `Idle` | `Step::other_version_announces` |
//! | | a kernel answers for it whose agent is silent and had claimed it | `Waiting` (250 ms) | `Step::kernel_answers_while_owned` |
//! | | it left the kernel, and the claim is confirmed | `Owned`, added again | `Step::kernel_lost` |
//! | | it left the kernel, and the claim may be lost | `Probing`; `Waiting` after a pause | `Step::kernel_lost` |
//! | | its successor claims it | `Idle` | `Step::dispute`, `Step::claim_reply_while_owned` |
//!
//! An owned address has two more machines of its own, which run side by side: a claim can be disputed in the middle of a
//! planned move.
//!
//! | [`Dispute`] | Event | Next | Function |
//! |---|---|---|---|
//! | `None`, `Weaker` | a stronger claim is known | `Stronger` | `Step::dispute` |
//! | `None`, `Stronger` | a weaker claim is known | `Weaker`: its owner is reminded every 100 ms | `Step::dispute` |
//! | `Stronger` | its owner is silent for 150 ms | `None` or `Weaker`, with a higher epoch | `Step::dispute` |
//! | any | no other claim is known | `None` | `Step::dispute` |
//!
//! | [`Handover`] | Event | Next | Function |
//! |---|---|---|---|
//! | `None` | this node may not keep the address, or rebalance is asked for | `Offering`; `Retry` (5 s) if there is no successor | `Step::offer_to_next` |
//! | `Retry` | its time comes | as `None` | `Step::handover` |
//! | `Offering` | the successor accepts | `Gone`: out of the kernel, go said | `Step::accept` |
//! | | it declines, or is silent for 150 ms | `Offering` to the next; `Retry` | `Step::decline`, `Step::handover` |
//! | `Gone` | the successor claims it | the address is `Idle` | `Step::dispute`, `Step::claim_reply_while_owned` |
//! | | no claim within 300 ms | `Retry`: taken back, epoch + 2 | `Step::take_back` |
//!
//! Whatever the state: the loss of its link makes it `Idle` (`Step::link_lost`). So does a pause of this node, unless the
//! address is owned and not gone (`Step::paused`); an owned address then has no contest and no offer.

use std::collections::BTreeSet;

use crate::address::askers::Introduction;
use crate::address::probe::Probe;
use crate::model::node::NodeId;
use crate::model::time::Time;
use crate::wire::{Epoch, Move};

/// What is under way for an address.
#[derive(Debug, Default)]
pub(super) enum State {
    /// Another node has it, or this node may not have it.
    #[default]
    Idle,
    /// This node acts at a time, unless another has acted until then.
    Waiting { until: Time },
    /// This node asks the link.
    Probing(Probe),
    /// This node takes it as soon as its owner says go.
    Accepted(Accepted),
    /// It is this node's.
    Owned(Owned),
}

/// A planned move to this node.
#[derive(Debug)]
pub(super) struct Accepted {
    pub from: NodeId,
    pub step: Move,
    /// After this a go is void.
    pub until: Time,
}

/// An address of this node.
#[derive(Debug)]
pub(super) struct Owned {
    pub epoch: Epoch,
    pub announcing: Announcing,
    pub dispute: Dispute,
    pub handover: Handover,
    /// When it was last defended against a foreign host.
    pub defended: Option<Time>,
    /// The member whose kernel has it from somebody else, as that member says.
    pub foreign: Option<ForeignHolder>,
}

/// A member whose kernel has an address of this node from somebody else.
#[derive(Debug)]
pub(super) struct ForeignHolder {
    pub node: NodeId,
    /// When it first said so.
    pub since: Time,
    /// When it is asked again.
    pub next: Time,
}

/// How far the announcements of an address have come.
#[derive(Debug)]
pub(super) struct Announcing {
    /// Announcements count from here.
    pub since: Time,
    /// How many were made.
    pub made: usize,
    /// When the next is due.
    pub next: Option<Time>,
    /// When the next has its turn on the link, if it has asked for one.
    pub granted: Option<Time>,
    /// When hosts that may ignore announcements are asked from the address.
    pub introduce: Option<Introduction>,
}

/// Whether others claim an address of this node.
#[derive(Debug)]
pub(super) enum Dispute {
    /// Nobody else does.
    None,
    /// The claim of another node is weaker.
    Weaker {
        /// When that node is reminded again.
        remind: Time,
        /// Whether it is then the turn of this address to ask the kernel of that node, whose agent is silent.
        granted: bool,
    },
    /// The claim of another node is stronger: is that node there?
    Stronger(Contest),
}

/// The contest with a stronger claim.
#[derive(Debug)]
pub(super) struct Contest {
    pub rival: NodeId,
    pub epoch: Epoch,
    /// The rival has until then to answer.
    pub until: Time,
    /// When it is asked next.
    pub next: Time,
    /// When the owner of a weaker claim, known before this one, is reminded again.
    pub remind: Option<Time>,
}

/// How far a planned move away has come.
#[derive(Debug)]
pub(super) enum Handover {
    /// None is under way.
    None,
    /// There was no successor, or it did not claim: tried again then.
    Retry(Time),
    /// It is offered; this node has it.
    Offering(Offer),
    /// It is out of this node's kernel, and the successor was told to go.
    Gone(Offer),
}

/// A planned move to a successor.
#[derive(Debug)]
pub(super) struct Offer {
    pub to: NodeId,
    pub id: u64,
    /// Successors that did not accept.
    pub tried: BTreeSet<NodeId>,
    /// When it was offered, or go was first said.
    pub since: Time,
    /// When offer or go is repeated.
    pub next: Time,
}

impl State {
    /// The address of this node, if it is one.
    pub const fn owned(&self) -> Option<&Owned> {
        if let Self::Owned(owned) = self { Some(owned) } else { None }
    }

    /// When the state is to be looked at again.
    pub fn deadline(&self) -> Option<Time> {
        match self {
            Self::Idle => None,
            Self::Waiting { until } => Some(*until),
            Self::Probing(probe) => Some(probe.next),
            Self::Accepted(accepted) => Some(accepted.until),
            Self::Owned(owned) => {
                let contest = owned.dispute.contest().map(|contest| contest.next);
                let foreign = owned.foreign.as_ref().map(|holder| holder.next);
                let introduce = owned.announcing.introduce.as_ref().map(|introduction| introduction.at);
                let announcing = [owned.announcing.next, introduce].into_iter().flatten().min();
                [announcing, contest, owned.dispute.remind(), owned.handover.deadline(), foreign]
                    .into_iter()
                    .flatten()
                    .min()
            }
        }
    }
}

impl Owned {
    /// Owned from now on; an adopted address is not announced. The first announcement belongs to the claim, which has had
    /// its turn on the link.
    pub const fn new(epoch: Epoch, now: Time, announce: bool) -> Self {
        let next = if announce { Some(now) } else { None };
        Self {
            epoch,
            announcing: Announcing { since: now, made: 0, next, granted: next, introduce: None },
            dispute: Dispute::None,
            handover: Handover::None,
            defended: None,
            foreign: None,
        }
    }

    /// Begins the announcements anew. A turn on the link that was asked for is kept, or others would wait for it in vain.
    pub fn announce_again(&mut self, now: Time) {
        let (granted, introduce) = (self.announcing.granted, self.announcing.introduce.take());
        self.announcing = Announcing { since: now, made: 0, next: Some(now), granted, introduce };
    }

    /// Whether it is out of this node's kernel, on its way to a successor.
    pub const fn is_gone(&self) -> bool {
        matches!(self.handover, Handover::Gone(_))
    }

    /// Whether it is on its way to this node.
    pub fn is_gone_to(&self, node: &NodeId) -> bool {
        matches!(&self.handover, Handover::Gone(offer) if offer.to == *node)
    }
}

impl Dispute {
    /// The contest with a stronger claim.
    pub const fn contest(&self) -> Option<&Contest> {
        if let Self::Stronger(contest) = self { Some(contest) } else { None }
    }

    /// When the owner of a weaker claim is reminded again.
    pub const fn remind(&self) -> Option<Time> {
        match self {
            Self::None => None,
            Self::Weaker { remind, .. } => Some(*remind),
            Self::Stronger(contest) => contest.remind,
        }
    }

    /// The dispute without its contest.
    pub fn end_contest(&mut self) {
        *self = self.remind().map_or(Self::None, |remind| Self::Weaker { remind, granted: false });
    }
}

impl Handover {
    /// The offer, whether it is accepted or not.
    pub const fn offer(&self) -> Option<&Offer> {
        match self {
            Self::Offering(offer) | Self::Gone(offer) => Some(offer),
            Self::None | Self::Retry(_) => None,
        }
    }

    /// Withdraws an offer.
    pub fn cancel(&mut self) {
        if self.offer().is_some() {
            *self = Self::None;
        }
    }

    fn deadline(&self) -> Option<Time> {
        match self {
            Self::None => None,
            Self::Retry(at) => Some(*at),
            Self::Offering(offer) | Self::Gone(offer) => Some(offer.next),
        }
    }
}
