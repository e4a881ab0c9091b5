//! Kernels that answer for an address while their agent cannot be asked: it is silent, or it speaks another version.
//!
//! | The agent | The kernel's answer | Counts |
//! |---|---|---|
//! | any | the address is an own one of the node, as its Lease says | a conflict |
//! | speaks another version | `announcing-*` gives the address to it | as the owner's: looked at again, seldom |
//! | | another living member is named | for nothing: IPVS without strict ARP answers for every VIP |
//! | | as before, but that is out of date; or nobody else living is named; and the member's claim, made before it spoke that version, is the strongest | as the owner's |
//! | | nobody else living is named | for [`UNNAMED`]: who claims an address names itself a moment later |
//! | silent | it claimed the address, or `announcing-*` gives it to it | as the owner's: looked at again in 250 ms |
//! | | its claims are not all known; gossip is silent altogether, or this node's watches are behind | as the owner's: nothing else can be known |
//! | | all its claims are known, and the address is not among them | for nothing |

use std::time::Duration;

use crate::address::entry::Unnamed;
use crate::address::probing::could_own;
use crate::address::step::Step;
use crate::membership::Member;
use crate::model::node::NodeId;
use crate::model::spec::AddressSpec;
use crate::model::time::ms;
use crate::wire::Liveness;

/// The answer of a kernel whose agent speaks another version counts for so long if no living member is named.
const UNNAMED: Duration = ms(2000);
/// An agent that is silent for so long, on a node that does not qualify any more, loses the address.
const OVERRIDE: Duration = ms(10_000);
/// Answers that are further apart are not of one kind.
const APART: Duration = ms(2000);
/// Between two looks at an address of a member that speaks another version, at least.
const SELDOM: Duration = ms(5000);
/// Between two looks at an address that a silent agent's kernel serves, at least.
const LOOK: Duration = ms(250);

/// What the answer of a kernel is worth.
enum Standing {
    /// The member has the address.
    Serves,
    /// It may have it: the answer counts for [`UNNAMED`].
    Perhaps,
    /// It does not have it.
    Nothing,
}

impl Step<'_, '_> {
    /// The member to which `announcing-*` gives the address, if it lives and speaks another version.
    pub fn unasked_owner(&self) -> Option<NodeId> {
        let node = self.entry.spec.as_ref()?.announced_by.clone()?;
        self.speaks_other_version(&node).then_some(node)
    }

    /// The member to which `announcing-*` gives the address, if it is another one.
    pub fn named_other(&self) -> Option<NodeId> {
        let node = self.entry.spec.as_ref()?.announced_by.clone()?;
        self.context.gossip.members.get(&node).map(|_| node)
    }

    /// Whether a member lives and speaks another version.
    pub fn speaks_other_version(&self, node: &NodeId) -> bool {
        self.context.gossip.members.get(node).is_some_and(Member::speaks_other_version)
    }

    /// Whether the address is an own one of the member's node, as its Lease says.
    pub fn is_own_address_of(&self, node: &NodeId) -> bool {
        let peer = self.context.gossip.members.get(node).and_then(|member| member.peer.as_ref());
        peer.is_some_and(|peer| peer.places.iter().any(|place| place.address == self.address))
    }

    /// Whether a member loses the address though its kernel answers for it: its node does not qualify any more, and its
    /// agent is silent for so long that it will not hand the address over.
    pub fn is_overridden(&self, node: &NodeId) -> bool {
        let now = self.context.now();
        let member = self.context.gossip.members.get(node);
        let silent = member.is_some_and(|member| !now.is_within(member.last_ack(), OVERRIDE));
        let qualifies = self.spec().is_none_or(|spec| could_own(&spec, node));
        silent && !qualifies && self.is_silence_of_agent(node)
    }

    /// Whether the silence of a member is its agent's, and not that of the network between the agents: its Lease has run
    /// out, or it speaks this version and others are heard.
    fn is_silence_of_agent(&self, node: &NodeId) -> bool {
        let members = &*self.context.gossip.members;
        let Some(member) = members.get(node) else { return false };
        let ends = member.peer.as_ref().is_some_and(|peer| !peer.lease_alive) && self.context.eligibility.is_current();
        let others = || members.iter().any(|(other, member)| other != node && member.liveness == Liveness::Alive);
        ends || !member.speaks_other_version() && !members.is_gossip_silent() && others()
    }

    /// Whether the answer of this member's kernel, whose agent cannot be asked, is an owner's.
    pub fn serves_unasked(&mut self, spec: &AddressSpec, node: &NodeId) -> bool {
        let now = self.context.now();
        let standing =
            if self.speaks_other_version(node) { self.other_version(spec, node) } else { self.silent(spec, node) };
        match standing {
            Standing::Serves => {
                self.entry.unnamed = None;
                return true;
            }
            Standing::Nothing => return false,
            Standing::Perhaps => {}
        }
        let known = self.entry.unnamed.take().filter(|known| known.node == *node && now.since(known.last) < APART);
        let since = known.map_or(now, |known| known.since);
        self.entry.unnamed = Some(Unnamed { node: node.clone(), since, last: now });
        now.since(since) < UNNAMED
    }

    fn other_version(&self, spec: &AddressSpec, node: &NodeId) -> Standing {
        let living = |named: &NodeId| self.context.gossip.members.get(named).is_some_and(Member::lives);
        let claims = self.rival().is_some_and(|(rival, _)| rival == *node);
        match &spec.announced_by {
            Some(named) if named == node => Standing::Serves,
            Some(named) if living(named) && !(claims && self.is_outdated(named)) => Standing::Nothing,
            Some(_) | None if claims => Standing::Serves,
            Some(_) | None => Standing::Perhaps,
        }
    }

    /// Whether `announcing-*` may say what was, where another member has the strongest claim: this node's watches are
    /// behind, or all claims of the member that it names are known. One that speaks another version and has the address
    /// answers for it itself.
    fn is_outdated(&self, named: &NodeId) -> bool {
        !self.context.eligibility.is_current() || self.speaks_other_version(named) || self.are_claims_known(named)
    }

    /// Whether all claims of a member are known.
    fn are_claims_known(&self, node: &NodeId) -> bool {
        let member = self.context.gossip.members.get(node).filter(|member| member.heard.is_some());
        let newest = member.map(|member| member.status.version.max(member.rumoured_version()));
        newest.is_some_and(|version| self.context.claims.is_at(node, version))
    }

    fn silent(&self, spec: &AddressSpec, node: &NodeId) -> Standing {
        let claims = self.context.claims.rivals(self.address).any(|(rival, _)| rival == node);
        let named = spec.announced_by.as_ref() == Some(node);
        let members = &*self.context.gossip.members;
        let blind = members.is_gossip_silent() || !self.context.eligibility.is_current();
        // Until it is believed silent it may only be slow.
        let known = self.is_silent(node) && self.are_claims_known(node);
        if claims || named || blind || !known { Standing::Serves } else { Standing::Nothing }
    }

    /// When to look again at an address that this member's kernel serves, as far as the budget of looks allows.
    pub fn look_interval(&self, node: &NodeId) -> Duration {
        if self.speaks_other_version(node) && self.entry.unnamed.is_none() { SELDOM } else { LOOK }
    }
}
