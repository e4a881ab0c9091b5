//! Probing: this node asks the link for an address, and what each answer means.

use std::net::IpAddr;
use std::time::Duration;

use crate::address::context::Context;
use crate::address::decision::Decision;
use crate::address::probe::{AGAIN, Answer, EXTRA, Next, Probe, Standing};
use crate::address::state::State;
use crate::address::step::Step;
use crate::detector::HEARING;
use crate::io::{Action, ClaimReason, ConflictPolicy, Notification, ProbeKind, ProbeResult};
use crate::membership::Member;
use crate::model::link::LinkId;
use crate::model::node::{Mac, NodeId};
use crate::model::order::precedes;
use crate::model::spec::{AddressSpec, Qualified};
use crate::model::time::ms;
use crate::wire::{ClaimAnswer, Frame};

/// If this node does not hear, how often to look again,
const DEAF: Duration = ms(20);
/// from when on more seldom,
const LONG_DEAF: Duration = ms(1000);
/// and how often then.
const DEAF_AGAIN: Duration = ms(100);
/// The loser of a contention waits so long (RFC 5227 2.1.1, shortened); so does a node after each further answer of a
/// foreign host.
const CONTENTION: Duration = ms(500);
/// The spread of that wait against a host that is no known member, in milliseconds.
const CONTENTION_SPREAD: usize = 500;
/// The longest wait after a foreign host answered.
const BACKOFF: Duration = ms(5000);
/// The kernel of a silent agent may take so long to answer, where no shorter time is known.
const ROUND_TRIP: Duration = ms(500);
/// The kernel of a silent agent is asked again for so long, if not even its own address answers.
const UNSURE: Duration = ms(3000);
/// An owner whose hardware address on the link was not heard is asked at so many of those in its Lease.
const MACS: usize = 4;

impl Step<'_, '_> {
    pub fn probing(&mut self, mut probe: Probe) -> State {
        let Some(spec) = self.spec() else { return State::Idle };
        match self.decide() {
            Decision::None if probe.cause != ClaimReason::Move => return State::Idle,
            // What was asked while the owner was suspected is no look at the kernel of a silent agent, which has longer to
            // answer.
            Decision::Claim(attempt) if probe.is_outdated_by(attempt.cause) => {
                self.entry.look_again = true;
                return State::Idle;
            }
            Decision::None | Decision::Claim(_) => {}
        }
        if probe.held && !self.is_claimed_by_living(spec.link) {
            probe.end_hold(self.context.now());
        }
        match probe.step(self.context.now(), self.context.gossip.late) {
            Next::Wait => {}
            Next::Send => self.send_probe(&spec, &mut probe),
            Next::Ask => return self.ask_members(&spec, probe),
            Next::Free => return self.probes_unanswered(&spec, probe),
            Next::Foreign(mac) => {
                if let Some(Answer::Unknown { since, foreign: false, .. }) = probe.answer {
                    let now = self.context.now();
                    self.context.detector.note_foreign(spec.link, mac, spec.free, since, now);
                }
                return self.foreign_host(mac, probe);
            }
        }
        State::Probing(probe)
    }

    /// Asks the members that answered, and their hardware addresses alone if they do not say at once what they hold.
    fn ask_members(&mut self, spec: &AddressSpec, mut probe: Probe) -> State {
        let (now, late) = (self.context.now(), self.context.gossip.late);
        for (node, asked) in probe.members() {
            let speaks = !self.speaks_other_version(&node);
            let gone = self.context.detector.has_alarm(&node, spec.link);
            let member = self.context.gossip.members.get(&node);
            let lives = !gone && member.is_some_and(Member::lives);
            match asked.standing(probe.to_all, speaks, gone, late, now) {
                Standing::Open => {
                    if speaks {
                        self.context.gossip.send(&node, Frame::ClaimQuery(self.address));
                    }
                    if probe.asks_alone(&node, now) {
                        self.count_question(spec.link);
                        self.probe(spec.link, self.address, Some(asked.mac));
                    }
                }
                Standing::Absent if !lives => probe.dismiss([asked.mac], now),
                Standing::Absent | Standing::Silent => match self.silent_holder(spec, &node, probe) {
                    State::Probing(next) => probe = next,
                    other => return other,
                },
            }
        }
        State::Probing(probe)
    }

    fn send_probe(&mut self, spec: &AddressSpec, probe: &mut Probe) {
        if probe.sent == 1
            && let Some(mac) = self.silent_mac(spec.link, probe.cause)
        {
            probe.alone = true;
            self.count_question(spec.link);
            self.probe(spec.link, self.address, Some(mac));
            return self.ask_itself(spec.link);
        }
        if probe.sent > 2
            && probe.alone
            && probe.answer.is_none()
            && let Some(look) = &mut self.entry.look
        {
            // Neither that question nor one to everybody was answered: this becomes a takeover.
            look.further = false;
        }
        let (now, free) =
            (self.context.now(), spec.free.filter(|_| matches!(probe.answer, Some(Answer::Unknown { .. }))));
        // The answer to one question for a free address counts for all addresses for which the same host answered.
        if free.is_none_or(|free| self.context.detector.may_ask_free(spec.link, free, probe.interval, now)) {
            self.count_question(spec.link);
            self.probe(spec.link, free.unwrap_or(self.address), None);
        }
        probe.to_all += u32::from(free.is_none());
        self.ask_owner(spec.link);
        // Whether this node hears must be known at the decision, an interval from here.
        let heard = self.context.detector.link(spec.link).and_then(|state| state.answer);
        let recently = HEARING.saturating_sub(probe.interval * 2);
        let late = !self.context.gossip.late.is_zero();
        if probe.sent >= probe.total && (late || !self.context.now().is_within(heard, recently)) {
            self.context.ask_witnesses(spec.link);
        }
    }

    /// The hardware address of a silent agent's node. Who looks at its kernel again begins with a question to it alone, which
    /// is all it takes as long as it answers.
    fn silent_mac(&self, link: LinkId, cause: ClaimReason) -> Option<Mac> {
        let further = self.entry.look.as_ref().is_some_and(|look| look.further);
        let owner = self.rival().filter(|_| further && cause == ClaimReason::AgentSilent)?.0;
        self.context.detector.presence(&owner, link).mac
    }

    /// A question for the address is sent; what the turn of the attempt did not foresee is charged.
    fn count_question(&mut self, link: LinkId) {
        if let Some(look) = &mut self.entry.look {
            look.asked = look.asked.saturating_add(1);
            if look.asked > look.granted {
                self.context.budget.charge(link, look.further, self.context.gossip.now);
            }
        }
    }

    fn probe(&mut self, link: LinkId, target: IpAddr, to: Option<Mac>) {
        self.context.gossip.out.act(Action::Probe { link, target, to, kind: ProbeKind::Duplicate });
    }

    /// An owner that should be gone is asked in every other way too, and so is a member whose kernel had the address from
    /// somebody else.
    fn ask_owner(&mut self, link: LinkId) {
        if let Some(holder) = &self.entry.foreign {
            self.context.gossip.send(holder, Frame::ClaimQuery(self.address));
        }
        self.ask_itself(link);
        let Some(owner) = self.former_owner().or_else(|| self.named_other()) else { return };
        // A switch that snoops may not carry the question to the group: it goes to the owner's MAC too.
        if self.address.is_ipv6() {
            let heard = self.context.detector.presence(&owner, link).mac;
            let macs: Vec<_> = match heard {
                Some(mac) => vec![mac],
                None => self.context.gossip.members.macs_of(&owner).take(MACS).collect(),
            };
            for mac in macs {
                self.count_question(link);
                self.probe(link, self.address, Some(mac));
            }
        }
    }

    /// An owner that should be gone is asked whether it is, on the link once for all its addresses.
    fn ask_itself(&mut self, link: LinkId) {
        let Some(owner) = self.former_owner().or_else(|| self.named_other()) else { return };
        self.context.gossip.send(&owner, Frame::ClaimQuery(self.address));
        let peer = self.context.gossip.members.get(&owner).and_then(|member| member.peer.as_ref());
        let place = self.context.detector.link(link).and_then(|state| peer?.place_on(&state.link));
        let interval = self.context.policy.probe_interval;
        if let Some(place) = place
            && self.context.detector.reach_once(link, place.address, &owner, interval, &mut self.context.gossip)
            && self.entry.look.as_ref().is_none_or(|look| !look.further)
        {
            self.context.budget.charge(link, false, self.context.gossip.now);
        }
    }

    /// The owner that should be gone, whether it claims the address or `announcing-*` says that it has it.
    fn former_owner(&self) -> Option<NodeId> {
        self.rival().map(|(owner, _)| owner).or_else(|| self.unasked_owner())
    }

    /// Nobody answered.
    fn probes_unanswered(&mut self, spec: &AddressSpec, mut probe: Probe) -> State {
        let now = self.context.now();
        // A node that runs late may have heard an answer long ago, but after its last question.
        let heard = self.context.detector.link(spec.link).and_then(|state| state.answer);
        let after_last = probe.asked.is_some_and(|asked| heard >= Some(asked));
        if !after_last && !self.context.hears(spec.link, HEARING) {
            // The fault may be on this side. What was asked so far proves nothing; as long as nothing is heard, only
            // witnesses are asked.
            self.context.ask_witnesses(spec.link);
            let deaf = *probe.deaf.get_or_insert(now);
            probe.next = now + if now.since(deaf) < LONG_DEAF { DEAF } else { DEAF_AGAIN };
            return State::Probing(probe);
        }
        if probe.deaf.take().is_some() {
            // Nor does it prove anything that hosts which had answered did not answer again.
            probe.ignored.clear();
            (probe.sent, probe.next) = (0, now);
            return State::Probing(probe);
        }
        let owner = self.former_owner();
        let answer = owner.as_ref().and_then(|owner| self.context.detector.presence(owner, spec.link).answer);
        let answers = answer.is_some_and(|at| at >= probe.began);
        let gone = owner.is_none_or(|owner| self.context.detector.has_alarm(&owner, spec.link));
        if probe.cause == ClaimReason::AgentSilent && !gone && !probe.asks_last {
            // Its kernel may be slow to answer, and nothing hurries: it serves what it has.
            if now.since(probe.asked.unwrap_or(probe.began)) < self.patience() + self.context.gossip.late {
                probe.next = now + probe.interval;
                return State::Probing(probe);
            }
            // The questions may be lost, like those to its own address. An alarm will say so if it is gone. An owner that was
            // never heard on the link says nothing by its silence.
            let unheard = answer.is_some_and(|at| Some(at + probe.interval) < probe.asked);
            if unheard && now.since(probe.began) < UNSURE {
                return self.ask_unheard(spec.link, probe);
            }
        }
        if probe.cause != ClaimReason::Move && self.is_claimed_by_living(spec.link) {
            probe.hold(now);
            return State::Probing(probe);
        }
        if answers && probe.total < EXTRA {
            // The owner's kernel lives: make sure that the address is really gone from it.
            probe.total = EXTRA;
            return State::Probing(probe);
        }
        if probe.ask_last(now, self.context.gossip.late) {
            return State::Probing(probe);
        }
        self.report_probe(ProbeResult::Free);
        self.claim(spec, probe.cause)
    }

    /// The owner does not answer for anything: the link is asked for the address again as far as further looks have room,
    /// and the owner itself in any case.
    fn ask_unheard(&mut self, link: LinkId, mut probe: Probe) -> State {
        let now = self.context.now();
        if self.context.budget.has_room_for_further(link, AGAIN.into(), now) {
            if let Some(look) = &mut self.entry.look {
                look.granted = look.granted.saturating_add(AGAIN.into());
            }
            probe.ask_again(now);
        } else {
            self.ask_itself(link);
            probe.wait(now);
        }
        State::Probing(probe)
    }

    /// How long the kernel of a silent agent has to answer.
    fn patience(&self) -> Duration {
        self.entry.round_trip.map_or(ROUND_TRIP, |known| (known * 4).min(ROUND_TRIP))
    }

    /// A member's kernel answers, and its agent cannot be asked.
    fn silent_holder(&mut self, spec: &AddressSpec, node: &NodeId, mut probe: Probe) -> State {
        if self.is_own_address_of(node) {
            return self.conflict_on_node(node, probe);
        }
        let now = self.context.now();
        if self.is_overridden(node) {
            probe.dismiss(self.context.gossip.members.macs_of(node), now);
            probe.sent = 0;
            return State::Probing(probe);
        }
        if !self.serves_unasked(spec, node) {
            return self.strict_arp_needed(node, false, probe);
        }
        if let Some(Answer::Members(members)) = &probe.answer
            && let Some(asked) = members.get(node)
        {
            // What came may answer a question of an earlier look: a shorter time counts by and by.
            let known = self.entry.round_trip.map_or(Duration::ZERO, |known| known.saturating_sub(known / 8));
            self.entry.round_trip = Some(asked.since.since(probe.began).max(known));
        }
        self.report_probe(ProbeResult::KernelServes);
        self.back_off(self.look_interval(node))
    }

    /// A member's kernel answers for what it does not have on this link: its answers do not count.
    fn strict_arp_needed(&mut self, node: &NodeId, routed: bool, mut probe: Probe) -> State {
        let needed = Notification::StrictArpNeeded { node: node.clone(), address: self.address, routed };
        self.context.gossip.out.report(needed);
        probe.dismiss(self.context.gossip.members.macs_of(node), self.context.now());
        State::Probing(probe)
    }

    fn foreign_host(&mut self, mac: Mac, probe: Probe) -> State {
        self.entry.backoff.host = Some(mac);
        let conflict = Notification::AddressConflict { address: self.address, mac, defended: false };
        self.conflict(conflict, vec![mac], probe)
    }

    /// A member's kernel has the address from somebody else.
    fn conflict_on_node(&mut self, node: &NodeId, probe: Probe) -> State {
        let conflict = Notification::ConflictOnNode { address: self.address, node: node.clone(), yielded: false };
        let macs = self.context.gossip.members.macs_of(node).collect();
        self.conflict(conflict, macs, probe)
    }

    /// A host has the address that is neither ours to take nor a proxy.
    fn conflict(&mut self, conflict: Notification, macs: Vec<Mac>, mut probe: Probe) -> State {
        match self.context.policy.conflicts {
            ConflictPolicy::Off => {}
            ConflictPolicy::Warn => self.context.gossip.out.report(conflict),
            ConflictPolicy::Enforce => {
                self.entry.backoff.conflicts = self.entry.backoff.conflicts.saturating_add(1);
                let pause = BACKOFF.min(CONTENTION * self.entry.backoff.conflicts);
                self.report_probe(ProbeResult::Foreign);
                self.context.gossip.out.report(conflict);
                return self.back_off(pause);
            }
        }
        probe.dismiss(macs, self.context.now());
        State::Probing(probe)
    }

    /// Steps back from a contention.
    pub fn contention(&mut self, with_member: bool) -> State {
        self.report_probe(ProbeResult::Contention);
        if with_member {
            self.entry.backoff.contended = Some(self.context.now());
            // A first look that was broken off is none yet: the member may be too busy to claim.
            self.entry.look.take_if(|look| !look.further);
        }
        // The other host may step back too, if it is a member whose Lease has not come yet: by chance the next attempts
        // are apart.
        let spread = if with_member { 0 } else { self.context.gossip.rng.below(CONTENTION_SPREAD) };
        self.back_off(CONTENTION + ms(u64::try_from(spread).unwrap_or(0)))
    }

    /// A member said what it has to do with the address.
    pub fn claim_reply_while_probing(&mut self, node: &NodeId, answer: ClaimAnswer, probe: Probe) -> State {
        let asked = matches!(&probe.answer, Some(Answer::Members(members)) if members.contains_key(node));
        match answer {
            ClaimAnswer::Claimed(_) => {
                self.report_probe(ProbeResult::Held);
                State::Idle
            }
            // Where it is no reason to step back, its answers on the link do not count, and what it says is reported once.
            ClaimAnswer::HeldForeign if asked || self.context.policy.conflicts == ConflictPolicy::Enforce => {
                self.conflict_on_node(node, probe)
            }
            ClaimAnswer::HeldRemote | ClaimAnswer::Nothing if asked => {
                self.strict_arp_needed(node, answer == ClaimAnswer::HeldRemote, probe)
            }
            ClaimAnswer::HeldForeign | ClaimAnswer::HeldRemote | ClaimAnswer::Nothing => State::Probing(probe),
        }
    }

    fn report_probe(&mut self, result: ProbeResult) {
        self.context.gossip.out.report(Notification::Probed { address: self.address, result });
    }
}

impl Probe {
    /// Whether the reason to act is another one now, for which the questions of this attempt do not count: a look at the
    /// kernel of a silent agent asks seldom and waits long, so that others may have claimed since it asked.
    fn is_outdated_by(&self, cause: ClaimReason) -> bool {
        let silent = [cause, self.cause].contains(&ClaimReason::AgentSilent) && self.cause != ClaimReason::Move;
        cause != self.cause && (self.held || silent)
    }

    /// Another host asks for the address that is probed: whether this node is to step back.
    pub fn loses_contention(
        &self,
        address: IpAddr,
        sender: Option<IpAddr>,
        mac: Mac,
        member: Option<&NodeId>,
        context: &Context<'_>,
    ) -> bool {
        // A host that asks from an address is a client; one that asks from none wants the address for itself.
        let loses = match member {
            Some(node) => precedes(node, context.own(), &address),
            None => sender.is_none() && address.is_ipv4() && context.policy.conflicts == ConflictPolicy::Enforce,
        };
        loses && !self.ignored.contains(&mac)
    }
}

/// Whether a node could own the address as far as the traffic policy goes.
pub(super) fn could_own(spec: &AddressSpec, node: &NodeId) -> bool {
    match &spec.qualified {
        Qualified::Tiers(tiers) => tiers.iter().find(|tier| !tier.is_empty()).is_none_or(|tier| tier.contains(node)),
        Qualified::All | Qualified::Preferred(_) => true,
    }
}
