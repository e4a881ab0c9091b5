//! Idle and waiting: an address that this node does not have.

use crate::address::decision::{Attempt, Decision};
use crate::address::probe::Probe;
use crate::address::state::State;
use crate::address::step::Step;
use crate::io::ClaimReason;
use crate::model::node::NodeId;
use crate::model::time::Time;

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
        let Decision::Claim(Attempt { at, cause, probes, from }) = self.decide() else { return State::Idle };
        let at = waiting.map_or(at, |waiting| waiting.min(at));
        let until = backoff.map_or(at, |backoff| backoff.max(at));
        if until > now { State::Waiting { until } } else { self.begin(cause, probes, from) }
    }

    /// Begins to ask the link.
    pub fn begin(&mut self, cause: ClaimReason, probes: u8, from: Option<NodeId>) -> State {
        self.entry.other_owner = from;
        let Some(spec) = self.spec() else { return State::Idle };
        // Only the first choice skips the probe. For a later one, that nobody claims the address may mean that it has not
        // heard of the owner yet, which takes some rumours in a large cluster.
        let skip = spec.skip_probe && self.address.is_ipv6() && cause == ClaimReason::Unclaimed;
        if skip && self.is_first_choice() {
            return self.claim(&spec, cause);
        }
        self.context.ask_witnesses(spec.link);
        self.probing(Probe::new(cause, probes, self.context.policy.probe_interval, self.context.now()))
    }
}
