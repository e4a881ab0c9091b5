//! Idle and waiting: an address that this node does not have.

use std::time::Duration;

use crate::address::budget::ANNOUNCED;
use crate::address::decision::{Attempt, Decision};
use crate::address::entry::Look;
use crate::address::probe::Probe;
use crate::address::state::State;
use crate::address::step::Step;
use crate::io::ClaimReason;
use crate::model::node::NodeId;
use crate::model::time::{Time, ms};

/// An address that was asked for before an alarm, less long ago, is asked for before the next one only as far as further
/// looks may: its owner comes and goes.
const EARLY_AGAIN: Duration = ms(60_000);

impl Step<'_, '_> {
    pub fn idle(&mut self) -> State {
        self.wait_or_begin(None)
    }

    pub fn waiting(&mut self, until: Time) -> State {
        self.wait_or_begin(Some(until))
    }

    /// What is in the kernel though this node does not own it is taken out.
    fn wait_or_begin(&mut self, waiting: Option<Time>) -> State {
        let now = self.context.now();
        let backoff = self.entry.backoff.until.filter(|until| *until > now);
        self.entry.backoff.until = backoff;
        if self.entry.in_kernel && (self.entry.spec.is_some() || self.context.startup.addresses_listed) {
            self.remove();
        }
        let Decision::Claim(Attempt { at, cause, probes, early, from }) = self.decide() else {
            self.entry.look = None;
            return State::Idle;
        };
        let at = waiting.map_or(at, |waiting| waiting.min(at));
        let until = backoff.map_or(at, |backoff| backoff.max(at));
        if early {
            // The alarm, if it comes, is looked at without delay.
            return if until <= now && self.has_early_turn(cause, probes) {
                self.begin(cause, probes, from)
            } else {
                State::Idle
            };
        }
        let until = if until > now { until } else { self.turn(cause, probes) };
        if until > now { State::Waiting { until } } else { self.begin(cause, probes, from) }
    }

    /// Whether an attempt has its turn at once, before an alarm. It keeps nothing free for later, for the owner may live.
    fn has_early_turn(&mut self, cause: ClaimReason, probes: u8) -> bool {
        let (now, granted) = (self.context.now(), u32::from(probes));
        let Some(link) = self.link() else { return false };
        let further = now.is_within(self.entry.asked_early, EARLY_AGAIN);
        let granted_now = if further {
            self.context.budget.has_room_for_further(link, granted, now)
        } else {
            self.context.budget.has_room_for_early(link, granted, now)
        };
        if granted_now {
            self.entry.asked_early = Some(now);
            self.entry.look = Some(Look { cause, asked: 0, granted, further, early: true, turn: None });
        }
        granted_now
    }

    /// When an attempt has its turn on the link.
    fn turn(&mut self, cause: ClaimReason, probes: u8) -> Time {
        let now = self.context.now();
        let Some(link) = self.link() else { return now };
        let before = self.entry.look.as_ref().filter(|look| look.cause == cause);
        if let Some(turn) = before.and_then(|look| look.turn) {
            return turn;
        }
        let asked = before.map(|look| look.asked);
        let granted = asked.map_or(u32::from(probes), |asked| asked.max(1));
        let turn = match asked {
            None => self.context.budget.first(link, granted + ANNOUNCED, now),
            Some(_) => self.context.budget.further(link, granted, now),
        };
        let further = asked.is_some();
        let asked = asked.unwrap_or(0);
        self.entry.look = Some(Look { cause, asked, granted, further, early: false, turn: Some(turn) });
        turn
    }

    /// Begins to ask the link.
    pub fn begin(&mut self, cause: ClaimReason, probes: u8, from: Option<NodeId>) -> State {
        self.entry.other_owner = from;
        let look = self.entry.look.take();
        let (granted, further, early) = look.map_or((0, false, false), |look| (look.granted, look.further, look.early));
        self.entry.look = Some(Look { cause, asked: 0, granted, further, early, turn: None });
        let Some(spec) = self.spec() else { return State::Idle };
        // Only the first choice skips the probe, and only where no sign speaks for anybody else. For a later one, that
        // nobody claims the address may mean that it has not heard of the owner yet, which takes some rumours in a large
        // cluster; and a kernel may serve it though its agent cannot say so.
        let unclaimed = cause == ClaimReason::Unclaimed && self.named_other().is_none() && self.entry.foreign.is_none();
        if spec.skip_probe && self.address.is_ipv6() && unclaimed && self.is_first_choice() {
            return self.claim(&spec, cause);
        }
        self.context.make_sure_to_hear(spec.link);
        self.probing(Probe::new(cause, probes, self.context.policy.probe_interval, self.context.now()))
    }
}
