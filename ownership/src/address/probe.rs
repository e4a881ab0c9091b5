//! Asking the link before claiming: RFC 5227 2.1 with our own times.
//!
//! | Answer | Then |
//! |---|---|
//! | none | claim |
//! | one of our own MACs | ignored |
//! | a member's MAC | the member is asked by gossip, see the next table |
//! | an unknown MAC | a free address is probed: the same MAC there is proxy ARP; else a foreign host |
//! | a better candidate's probe | contention: wait 500 ms |
//!
//! | The member says | Then |
//! |---|---|
//! | it claims the address | respected |
//! | its kernel has it on the dummy interface, or nothing (`kube-ipvs0` answers on the wire) | claim, with a report |
//! | its kernel has it from somebody else | a conflict, as with a foreign host |
//! | nothing: its agent is silent, or speaks another version | its hardware address alone is asked, see below; then module `unasked`: its kernel serves and is looked at again, or its answer does not count |
//!
//! All members that answer are asked at the same time. The answer of a member that cannot be asked counts only if it also
//! answers a question that goes to its hardware address alone: a switch that suppresses broadcasts answers them from its
//! cache, also for a node that is dead. Its answers may be late, so there must be more than there were broadcasts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::io::ClaimReason;
use crate::model::node::{Mac, NodeId};
use crate::model::time::{Time, ms};

/// Probes without cause for caution.
pub const FEW: u8 = 3;
/// Probes under alarm or loss.
pub const MANY: u8 = 5;
/// Probes when the owner's kernel lives and only the address is silent.
pub const EXTRA: u8 = 12;
/// Probes when the link is asked again.
pub const AGAIN: u8 = 2;
/// How long a member may take to say what it holds.
pub const PATIENCE: Duration = ms(100);
/// What was asked before the alarm counts for so long.
const HELD: Duration = ms(100);
/// The questions of a better candidate prolong an attempt that is not older.
const OUTLAST: Duration = ms(500);
/// How long its kernel may take to answer a question to it alone, unless the member is silent in every way.
const ALONE: Duration = ms(600);

/// A member that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Since when it is asked.
    pub since: Time,
    /// The hardware address that it answered with.
    pub mac: Mac,
    /// How often it answered.
    answers: u32,
    /// Whether its hardware address alone was asked,
    alone: bool,
    /// and whether an answer came after that.
    answered_since: bool,
    /// When its hardware address alone is asked next,
    next: Time,
    /// and how long after that again.
    gap: Duration,
}

/// What is known of a member that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is being asked.
    Open,
    /// Its agent does not speak, and its kernel answers.
    Silent,
    /// Its agent does not speak, and nobody answers at its hardware address.
    Absent,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Members: each is being asked.
    Members(BTreeMap<NodeId, Asked>),
    /// A MAC that no Lease lists: the free address is being probed.
    Unknown {
        /// Which.
        mac: Mac,
        /// Since when.
        since: Time,
        /// Whether it is known not to answer for the free address.
        foreign: bool,
    },
}

/// An attempt to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Why.
    pub cause: ClaimReason,
    /// When it began.
    pub began: Time,
    /// How many were sent.
    pub sent: u8,
    /// How many questions for the address went to everybody.
    pub to_all: u32,
    /// Whether the first question went to one hardware address alone.
    pub alone: bool,
    /// How many are to be sent.
    pub total: u8,
    /// Between two of them.
    pub interval: Duration,
    /// When the last one was sent.
    pub asked: Option<Time>,
    /// When the next is due, or the decision.
    pub next: Time,
    /// By how much the wait for answers was prolonged since the last one was sent, because this node runs late.
    pub prolonged: Duration,
    /// Nobody answered, and the owner is only suspected: the claim waits for the alarm.
    pub held: bool,
    /// What came.
    pub answer: Option<Answer>,
    /// Whether the link is asked once more because its last answer is too long ago.
    pub asks_last: bool,
    /// Since when this node hears nothing on the link, if the questions of this attempt met that.
    pub deaf: Option<Time>,
    /// Answers that do not count any more: a member that holds nothing, proxy ARP, policy Off.
    pub ignored: Vec<Mac>,
}

/// What an attempt does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing yet.
    Wait,
    /// Send one.
    Send,
    /// Ask the members again.
    Ask,
    /// Nobody answered: decide.
    Free,
    /// Not ours to take, nor proxy ARP.
    Foreign(Mac),
}

impl Probe {
    /// Begins now.
    #[must_use]
    pub const fn new(cause: ClaimReason, total: u8, interval: Duration, now: Time) -> Self {
        Self {
            cause,
            began: now,
            sent: 0,
            to_all: 0,
            alone: false,
            total,
            interval,
            asked: None,
            next: now,
            prolonged: Duration::ZERO,
            held: false,
            answer: None,
            asks_last: false,
            deaf: None,
            ignored: Vec::new(),
        }
    }

    /// Nobody answered: what was asked counts until then, if the claim must wait.
    pub fn hold(&mut self, now: Time) {
        self.ask_again(now);
        self.held = true;
    }

    /// Nobody answered, and perhaps nobody heard: the link is asked again.
    pub fn ask_again(&mut self, now: Time) {
        self.wait(now);
        self.sent = self.sent.min(self.total.saturating_sub(AGAIN));
    }

    /// Nobody answered: this is decided a little later.
    pub fn wait(&mut self, now: Time) {
        self.next = now + HELD;
    }

    /// A better candidate asks too, and may claim after its last question: the link is asked after that, for a while.
    pub fn outlast(&mut self, now: Time) {
        if now.since(self.began) < OUTLAST {
            self.next = self.next.max(now + self.interval * 2);
            self.sent = self.sent.min(self.total.saturating_sub(1));
        }
    }

    /// Whether the link is asked again before the claim, because others may have claimed since it was asked last.
    pub fn ask_last(&mut self, now: Time, late: Duration) -> bool {
        let old = self.asked.is_none_or(|asked| now.since(asked) > HELD + self.interval * 2 + late);
        if !old || self.asks_last {
            return false;
        }
        (self.asks_last, self.next) = (true, now);
        self.sent = self.sent.min(self.total.saturating_sub(1));
        true
    }

    /// What the claim waited for has come.
    pub const fn end_hold(&mut self, now: Time) {
        if self.held {
            (self.held, self.sent, self.next) = (false, self.total, now);
        }
    }

    /// What is due. If this node runs late, it waits for answers longer by as much.
    pub fn step(&mut self, now: Time, late: Duration) -> Next {
        if now < self.next {
            return Next::Wait;
        }
        // In step with the beginning, so that a timer that is late each time does not make the whole later.
        self.next = (self.next + self.interval).max(now + self.interval / 2);
        match &self.answer {
            Some(Answer::Members(_)) => Next::Ask,
            Some(Answer::Unknown { mac, since, foreign })
                if *foreign || now.since(*since) >= self.interval * 3 + late =>
            {
                Next::Foreign(*mac)
            }
            Some(Answer::Unknown { .. }) => Next::Send,
            None if self.sent >= self.total && late > self.prolonged => {
                self.next = now + late.saturating_sub(self.prolonged);
                self.prolonged = late;
                Next::Wait
            }
            None if self.sent >= self.total => Next::Free,
            None => {
                self.sent += 1;
                self.asked = Some(now);
                self.held = false;
                self.prolonged = Duration::ZERO;
                Next::Send
            }
        }
    }

    /// A member answered.
    pub fn answered_by(&mut self, node: NodeId, mac: Mac, now: Time) {
        if !matches!(self.answer, Some(Answer::Members(_))) {
            self.answer = Some(Answer::Members(BTreeMap::new()));
        }
        let (interval, alone) = (self.interval, self.alone);
        let Some(Answer::Members(members)) = &mut self.answer else { return };
        let known = members.entry(node).or_insert_with(|| {
            self.next = now;
            let next = now + interval;
            Asked { since: now, mac, answers: 0, alone, answered_since: false, next, gap: interval * 2 }
        });
        known.answers = known.answers.saturating_add(1);
        known.answered_since |= known.alone;
    }

    /// The members that are being asked.
    pub fn members(&self) -> Vec<(NodeId, Asked)> {
        match &self.answer {
            Some(Answer::Members(members)) => {
                members.iter().map(|(node, asked)| (node.clone(), asked.clone())).collect()
            }
            Some(Answer::Unknown { .. }) | None => Vec::new(),
        }
    }

    /// Whether a member's hardware address alone is to be asked now: after one interval, and after twice as long each time.
    pub fn asks_alone(&mut self, node: &NodeId, now: Time) -> bool {
        let to_all = self.to_all;
        let Some(Answer::Members(members)) = &mut self.answer else { return false };
        let due = |asked: &&mut Asked| !asked.is_confirmed(to_all) && now >= asked.next;
        let Some(asked) = members.get_mut(node).filter(due) else { return false };
        asked.alone = true;
        asked.next = now + asked.gap;
        asked.gap *= 2;
        true
    }

    /// Answers of these hardware addresses do not count. If nobody else has answered, go on as if none had come: what
    /// others answered meanwhile may not have been heard, so the link is asked again at least twice.
    pub fn dismiss(&mut self, macs: impl IntoIterator<Item = Mac>, now: Time) {
        self.ignored.extend(macs);
        self.held = false;
        if let Some(Answer::Members(members)) = &mut self.answer {
            members.retain(|_, asked| !self.ignored.contains(&asked.mac));
            if !members.is_empty() {
                return;
            }
        }
        self.answer = None;
        self.sent = self.sent.min(self.total.saturating_sub(2));
        self.next = now;
    }
}

impl Asked {
    /// Whether the member itself answered. Each question to everybody may still be answered by a switch, also after the
    /// member's hardware address alone was asked.
    const fn is_confirmed(&self, to_all: u32) -> bool {
        self.answered_since && self.answers > to_all
    }

    /// What is known of the member by now.
    ///
    /// `to_all` is how many questions went to everybody, `asked` says that its agent can be asked, `gone` that it is silent
    /// in every way on the link.
    pub fn standing(&self, to_all: u32, asked: bool, gone: bool, late: Duration, now: Time) -> Standing {
        let since = now.since(self.since);
        let spoken = if asked { PATIENCE + late } else { Duration::ZERO };
        let alone = if gone { PATIENCE } else { ALONE };
        if self.is_confirmed(to_all) && since >= spoken {
            Standing::Silent
        } else if !self.is_confirmed(to_all) && since >= alone + late {
            // Where answers to questions to everybody were lost, there may be too few of them.
            if self.answered_since && !gone { Standing::Silent } else { Standing::Absent }
        } else {
            Standing::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_probes_and_a_decision_at_30_ms() {
        let start = Time::from_micros(1000);
        let mut probe = Probe::new(ClaimReason::Unclaimed, FEW, ms(10), start);
        let steps: Vec<_> = (0..=30)
            .map(|at| probe.step(start + ms(at), ms(0)))
            .enumerate()
            .filter(|(_, n)| *n != Next::Wait)
            .collect();
        assert_eq!(steps, [(0, Next::Send), (10, Next::Send), (20, Next::Send), (30, Next::Free)]);
    }

    #[test]
    fn late_timers_do_not_add_up() {
        let start = Time::from_micros(1000);
        let mut probe = Probe::new(ClaimReason::Unclaimed, FEW, ms(10), start);
        for (at, expected) in [(0, Next::Send), (11, Next::Send), (21, Next::Send), (30, Next::Free)] {
            assert_eq!(probe.step(start + ms(at), ms(0)), expected, "{at}");
        }
        // One that comes very late leaves time for an answer all the same.
        let mut probe = Probe::new(ClaimReason::Unclaimed, FEW, ms(10), start);
        assert_eq!(probe.step(start + ms(40), ms(0)), Next::Send);
        assert_eq!(probe.next, start + ms(45));
    }

    #[test]
    fn an_answer_that_does_not_count_hides_no_other() {
        let start = Time::from_micros(0);
        let mut probe = Probe::new(ClaimReason::Unclaimed, FEW, ms(10), start);
        for at in [0, 10, 20] {
            assert_eq!(probe.step(start + ms(at), ms(0)), Next::Send);
        }
        probe.dismiss([Mac([2, 0, 0, 0, 0, 1])], start + ms(25));
        let steps: Vec<_> = [25, 35, 45].into_iter().map(|at| probe.step(start + ms(at), ms(0))).collect();
        assert_eq!(steps, [Next::Send, Next::Send, Next::Free]);
    }

    #[test]
    fn a_member_is_asked_for_100_ms() {
        let start = Time::from_micros(0);
        let (node, mac) = (NodeId::new("a").unwrap(), Mac([2, 0, 0, 0, 0, 1]));
        let mut probe = Probe::new(ClaimReason::Unclaimed, FEW, ms(10), start);
        probe.to_all = 1;
        probe.answered_by(node.clone(), mac, start);
        assert_eq!(probe.step(start, ms(0)), Next::Ask);
        let asks: Vec<_> = (0..=400).step_by(10).filter(|at| probe.asks_alone(&node, start + ms(*at))).collect();
        assert_eq!(asks, [10, 30, 70, 150, 310]);
        probe.answered_by(node.clone(), mac, start + ms(12));
        assert!(!probe.asks_alone(&node, start + ms(900)), "it has answered");
        let [(_, asked)] = probe.members().try_into().unwrap();
        for (at, late, standing) in [
            (99, 0, Standing::Open),
            (100, 0, Standing::Silent),
            (100, 20, Standing::Open),
            (120, 20, Standing::Silent),
        ] {
            assert_eq!(asked.standing(1, true, false, ms(late), start + ms(at)), standing, "{at} {late}");
        }
        // One that speaks another version is not asked.
        assert_eq!(asked.standing(1, false, false, ms(0), start + ms(12)), Standing::Silent);
    }

    /// The switch answers questions to everybody, the last two of them after the node itself is asked.
    #[test]
    fn an_answer_of_a_switch_for_a_dead_node_does_not_count() {
        let start = Time::from_micros(0);
        let (node, mac) = (NodeId::new("a").unwrap(), Mac([2, 0, 0, 0, 0, 1]));
        let mut probe = Probe::new(ClaimReason::OwnerGone, MANY, ms(10), start);
        probe.to_all = 3;
        probe.answered_by(node.clone(), mac, start);
        assert!(probe.asks_alone(&node, start + ms(10)));
        for at in [12, 20] {
            probe.answered_by(node.clone(), mac, start + ms(at));
        }
        let [(_, asked)] = probe.members().try_into().unwrap();
        let standing = |asked: &Asked, gone, at| asked.standing(3, true, gone, ms(0), start + ms(at));
        assert_eq!(standing(&asked, true, 99), Standing::Open);
        assert_eq!(standing(&asked, true, 100), Standing::Absent);
        assert_eq!(standing(&asked, false, 100), Standing::Open, "it may be slow");
        assert_eq!(standing(&asked, false, 600), Standing::Silent, "answers to the first questions may be lost");
        // One more than there were questions to everybody.
        probe.answered_by(node, mac, start + ms(25));
        let [(_, asked)] = probe.members().try_into().unwrap();
        assert_eq!(standing(&asked, true, 100), Standing::Silent);
    }

    #[test]
    fn members_are_asked_together() {
        let start = Time::from_micros(0);
        let mac = |number| Mac([2, 0, 0, 0, 0, number]);
        let mut probe = Probe::new(ClaimReason::Unclaimed, FEW, ms(10), start);
        probe.sent = FEW;
        for number in 0..50 {
            probe.answered_by(NodeId::new(&number.to_string()).unwrap(), mac(number), start);
        }
        for number in 0..49 {
            probe.dismiss([mac(number)], start + ms(1));
            assert_eq!(probe.sent, FEW, "the last one is still being asked");
        }
        probe.dismiss([mac(49)], start + ms(1));
        assert_eq!((probe.sent, &probe.answer), (FEW - 2, &None));
    }

    #[test]
    fn a_node_that_runs_late_waits_longer_by_as_much() {
        let start = Time::from_micros(0);
        let mut probe = Probe::new(ClaimReason::Unclaimed, 1, ms(10), start);
        assert_eq!(probe.step(start, ms(0)), Next::Send);
        // The decision at 10 ms comes at 90 ms.
        assert_eq!(probe.step(start + ms(90), ms(80)), Next::Wait);
        assert_eq!(probe.next, start + ms(170));
        // That step is later still; the one after it decides, however late it is.
        assert_eq!(probe.step(start + ms(370), ms(200)), Next::Wait);
        assert_eq!(probe.next, start + ms(490));
        assert_eq!(probe.step(start + ms(690), ms(200)), Next::Free);
    }
}
