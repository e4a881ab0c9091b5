//! What the kernel of this node says about an address: what it has at the start, what it lost, what it refused.
//!
//! Adopting is not claiming: after a restart a node keeps what its kernel has, by the epochs of its state file, else by
//! what peers know of its former boot, else by 0, and yields to any stronger claim.

use std::time::Duration;

use crate::address::probe::FEW;
use crate::address::state::{Owned, State};
use crate::address::step::Step;
use crate::io::{Action, ClaimReason, ReleaseReason};
use crate::model::spec::AddressSpec;
use crate::model::time::ms;
use crate::wire::{Epoch, Liveness};

/// A claim that nobody contradicted within so long may be repaired at once.
const CONFIRMED: Duration = ms(1000);
/// How long to wait after the kernel refused an address: another node may be able to take it.
const REFUSED: Duration = ms(5000);

impl Step<'_, '_> {
    /// The kernel has the address at the start.
    pub fn adopt(&mut self, epoch: Epoch) -> State {
        self.note_epoch(epoch);
        self.entry.last = "adopted";
        self.context.claims.own.set(self.address, Some(epoch));
        State::Owned(Owned::new(epoch, self.context.now(), false))
    }

    /// A peer knows this epoch of this node's former boot.
    pub fn raise_epoch(&mut self, epoch: Epoch) {
        self.note_epoch(epoch);
        if let State::Owned(owned) = &mut self.entry.state
            && owned.epoch < epoch
        {
            owned.epoch = epoch;
            self.context.claims.own.set(self.address, Some(epoch));
        }
    }

    /// The address left the kernel, by somebody's hand or because its lifetime ended.
    pub fn kernel_lost(&mut self, state: State) -> State {
        self.entry.in_kernel = false;
        let State::Owned(mut owned) = state else { return state };
        let Some(spec) = self.spec() else { return self.release(&owned, ReleaseReason::KernelLost, None) };
        if owned.is_gone() {
            return State::Owned(owned);
        }
        if self.may_repair(&spec, &owned) {
            self.entry.in_kernel = true;
            self.context.gossip.out.act(Action::Add { address: self.address, link: spec.link });
            owned.announce_again(self.context.now());
            self.announce(spec.link, &mut owned);
            return State::Owned(owned);
        }
        self.release(&owned, ReleaseReason::KernelLost, None);
        match self.context.startup.quiet_until(self.context.now()) {
            Some(until) => State::Waiting { until },
            None => self.begin(ClaimReason::Lost, FEW, None),
        }
    }

    /// Whether the claim is still this node's for sure: a member answered within a second, or nobody is there and the
    /// link hears, and no stronger claim is known.
    fn may_repair(&mut self, spec: &AddressSpec, owned: &Owned) -> bool {
        let now = self.context.now();
        let members = &*self.context.gossip.members;
        let answered = members.iter().any(|(_, member)| now.is_within(member.ack, CONFIRMED));
        let alone = members.iter().all(|(_, member)| member.liveness != Liveness::Alive);
        let works = self.context.detector.link(spec.link).is_some_and(|state| state.link.carrier && !state.broken);
        let undisputed = owned.dispute.contest().is_none();
        works && undisputed && (answered || alone && self.context.hears(spec.link, CONFIRMED))
    }

    /// The kernel refused the address.
    pub fn add_failed(&mut self, state: State) -> State {
        let State::Owned(owned) = state else { return state };
        // Where it was before, if anywhere, it is to go too.
        self.release(&owned, ReleaseReason::AddFailed, None);
        self.entry.look_again = false;
        self.back_off(REFUSED)
    }
}
