//! One interface of this node: its carrier, who may bear witness that it works, and whether it is broken.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::model::link::Link;
use crate::model::node::Mac;
use crate::model::time::{Time, ms};

/// How old the last answer on a link may be.
pub const HEARING: Duration = ms(300);
/// Without carrier for so long, this node's addresses are given up there.
const CARRIER: Duration = ms(250);
/// How long the check lasts after another member said that this node does not answer.
const CHECK: Duration = ms(80);
/// Between two questions of a check.
const CHECK_INTERVAL: Duration = ms(20);
/// A host that asked is a witness for so long.
const WITNESS: Duration = ms(60_000);
/// A host that did not answer for a free address is no proxy for so long.
const FOREIGN: Duration = ms(10_000);
/// So many such hosts are remembered.
const MAX_FOREIGN: usize = 64;
/// The most hosts that are remembered as witnesses.
const MAX_WITNESSES: usize = 4;

/// Another member said that this node does not answer here: is it so?
#[derive(Debug, Clone, Copy)]
struct Check {
    began: Time,
    next: Time,
}

/// A host that did not answer for a free address.
#[derive(Debug, Clone, Copy)]
struct Foreign {
    /// When that was seen.
    at: Time,
    /// Whether it was seen twice: all questions of one look may be lost.
    twice: bool,
}

/// What a check of a link comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckResult {
    /// Nothing is due, or somebody answered.
    Fine,
    /// Witnesses are to be asked.
    Ask,
    /// The link is broken from now on.
    Broken,
}

/// An interface and what is known of it.
#[derive(Debug)]
pub struct LinkState {
    /// The interface.
    pub link: Link,
    /// Since when it has carrier, or not.
    pub since: Time,
    /// When somebody last answered this node there.
    pub answer: Option<Time>,
    /// Whether it is known not to carry answers to this node.
    pub broken: bool,
    /// Whether a gateway has answered since it has carrier.
    pub(super) gateway_answered: bool,
    /// When witnesses were last asked.
    pub(super) asked: Option<Time>,
    /// Since when they are asked without any answer.
    pub(super) unanswered: Option<Time>,
    /// Whether it was reported that nothing answers.
    pub(super) deaf_reported: bool,
    witnesses: VecDeque<(IpAddr, Time)>,
    /// The own addresses of members that were asked for lately by those who look at what they had, and when.
    reached: BTreeMap<IpAddr, Time>,
    /// The free addresses that were asked for lately, and when.
    free_asked: BTreeMap<IpAddr, Time>,
    /// Hosts that did not answer for a free address.
    foreign: BTreeMap<(Mac, Option<IpAddr>), Foreign>,
    check: Option<Check>,
}

impl LinkState {
    pub(super) const fn new(link: Link, now: Time) -> Self {
        Self {
            link,
            since: now,
            answer: None,
            broken: false,
            gateway_answered: false,
            asked: None,
            unanswered: None,
            deaf_reported: false,
            witnesses: VecDeque::new(),
            reached: BTreeMap::new(),
            free_asked: BTreeMap::new(),
            foreign: BTreeMap::new(),
            check: None,
        }
    }

    pub(super) fn update(&mut self, link: Link, now: Time) {
        if self.link.carrier != link.carrier {
            self.since = now;
            self.gateway_answered = false;
            self.answer = None;
            self.unanswered = None;
            if link.carrier {
                self.broken = false;
            }
        }
        self.link = link;
    }

    /// Somebody answered a question of this node; returns whether the link was broken until now.
    pub(super) fn answered(&mut self, by: IpAddr, now: Time) -> bool {
        let repaired = self.broken && self.link.carrier;
        self.answer = Some(now);
        self.unanswered = None;
        self.gateway_answered |= self.link.gateways.contains(&by);
        self.deaf_reported = false;
        self.broken = self.broken && !self.link.carrier;
        repaired
    }

    /// A host that is no member asked something: it is there.
    pub(super) fn add_witness(&mut self, host: IpAddr, now: Time) {
        self.witnesses.retain(|(known, _)| *known != host);
        self.witnesses.push_front((host, now));
        self.witnesses.truncate(MAX_WITNESSES);
    }

    /// Hosts that asked something lately, the latest first.
    pub fn witnesses(&self, now: Time) -> impl Iterator<Item = IpAddr> {
        self.witnesses.iter().filter(move |(_, at)| now.is_within(Some(*at), WITNESS)).map(|(host, _)| *host)
    }

    /// Whether a free address may be asked for; it was not within so long.
    pub(super) fn may_ask_free(&mut self, free: IpAddr, interval: Duration, now: Time) -> bool {
        if now.is_within(self.free_asked.get(&free).copied(), interval) {
            return false;
        }
        self.free_asked.retain(|_, at| now.since(*at) < FOREIGN);
        self.free_asked.insert(free, now);
        true
    }

    /// Whether a member's own address may be asked for; it was not within so long.
    pub(super) fn may_reach(&mut self, target: IpAddr, interval: Duration, now: Time) -> bool {
        if now.is_within(self.reached.get(&target).copied(), interval) {
            return false;
        }
        self.reached.retain(|_, at| now.since(*at) < HEARING);
        self.reached.insert(target, now);
        true
    }

    /// A host that answers for an address since a time does not answer for a free one. If a later look sees the same, it
    /// need not be asked again for a while.
    pub(super) fn note_foreign(&mut self, mac: Mac, free: Option<IpAddr>, since: Time, now: Time) {
        self.foreign.retain(|_, known| now.since(known.at) < FOREIGN);
        if let Some(known) = self.foreign.get_mut(&(mac, free)) {
            // Looks at the same time share their questions.
            if since > known.at {
                *known = Foreign { at: now, twice: true };
            }
        } else if self.foreign.len() < MAX_FOREIGN {
            self.foreign.insert((mac, free), Foreign { at: now, twice: false });
        }
    }

    /// A host answers for an address; returns whether it is a free one that was asked for. The host is a proxy then.
    pub(super) fn note_proxy(&mut self, mac: Mac, free: IpAddr) -> bool {
        let asked = self.free_asked.contains_key(&free);
        if asked {
            self.foreign.remove(&(mac, Some(free)));
        }
        asked
    }

    /// Whether a host is known not to answer for a free address.
    pub(crate) fn is_foreign(&self, mac: Mac, free: Option<IpAddr>, now: Time) -> bool {
        self.foreign.get(&(mac, free)).is_some_and(|known| known.twice && now.since(known.at) < FOREIGN)
    }

    /// Another member said that this node does not answer here.
    pub(super) fn begin_check(&mut self, now: Time) {
        if self.check.is_none() && !self.broken {
            self.check = Some(Check { began: now, next: now });
        }
    }

    /// When [`LinkState::check`] is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        let lapse = (!self.link.carrier && !self.broken).then(|| self.since + CARRIER);
        [lapse, self.check.map(|check| check.next)].into_iter().flatten().min()
    }

    /// Does what is due. A node that runs late waits longer for answers by as much.
    pub(super) fn check(&mut self, now: Time, late: Duration) -> CheckResult {
        if !self.link.carrier && !self.broken && now.since(self.since) >= CARRIER {
            self.check = None;
            self.broken = true;
            return CheckResult::Broken;
        }
        let Some(check) = self.check.filter(|check| check.next <= now) else { return CheckResult::Fine };
        if self.answer.is_some_and(|answer| answer > check.began) {
            self.check = None;
            CheckResult::Fine
        } else if now.since(check.began) >= CHECK + late {
            self.check = None;
            self.broken = true;
            CheckResult::Broken
        } else {
            self.check = Some(Check { next: now + CHECK_INTERVAL, ..check });
            CheckResult::Ask
        }
    }
}
