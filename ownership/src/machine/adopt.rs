//! Start and pause: what the kernel has comes first.
//!
//! Adopting is not claiming: after a restart a node keeps what its kernel has, by the epochs of its state file, else
//! by what peers knew of its former boot, else by 0, and yields to any higher claim.

use std::net::IpAddr;
use std::time::Duration;

use crate::event::{Action, Fact, Why};
use crate::machine::Machine;
use crate::machine::slot::{Held, State};
use crate::membership::Member;
use crate::probe::{Cause, FEW};
use crate::time::ms;
use crate::wire::{Epoch, Message, Vital};

/// How long the first contacts may take before anything is claimed.
const CONTACTS: Duration = ms(1000);
/// After a pause nothing is begun for so long, so that news can come in.
const QUIET: Duration = ms(300);
/// A claim that was contradicted by nobody within so long may be repaired at once.
const CONFIRMED: Duration = ms(1000);

impl Machine {
    /// The kernel's VIPs, as they are.
    pub(super) fn on_kernel(&mut self, addresses: &[(IpAddr, Option<Epoch>)]) {
        let listed: std::collections::BTreeSet<_> = addresses.iter().map(|(address, _)| *address).collect();
        let missing = self.slots.iter().filter(|(address, slot)| slot.in_kernel && !listed.contains(*address));
        let missing: Vec<_> = missing.map(|(address, _)| *address).collect();
        for address in missing {
            self.on_kernel_lost(address);
        }
        let mut adopted = false;
        for (address, epoch) in addresses {
            let now = self.now;
            let fresh = !self.open && !self.wants_complete;
            let slot = self.slots.entry(*address).or_default();
            slot.in_kernel = true;
            if fresh && slot.held().is_none() {
                let epoch = epoch.unwrap_or(0);
                slot.seen = slot.seen.max(epoch);
                slot.last = "adopted";
                self.ledger.own.set(*address, Some(epoch));
                adopted = true;
                self.put_state(*address, State::Held(Held::new(epoch, now, false)));
            }
            self.dirty.insert(*address);
        }
        if adopted {
            self.act(Action::Renew);
        }
    }

    /// What a peer knew of our former boot.
    pub(super) fn on_recall(&mut self, claims: &[(IpAddr, Epoch)]) {
        for (address, epoch) in claims {
            let Some(slot) = self.slots.get_mut(address) else { continue };
            slot.seen = slot.seen.max(*epoch);
            if let State::Held(held) = &mut slot.state
                && held.epoch < *epoch
            {
                held.epoch = *epoch;
                self.ledger.own.set(*address, Some(*epoch));
            }
        }
    }

    /// An address of ours left the kernel, by somebody's hand or because its lifetime ended.
    pub(super) fn on_kernel_lost(&mut self, address: IpAddr) {
        let Some(slot) = self.slots.get_mut(&address).filter(|slot| slot.in_kernel) else { return };
        slot.in_kernel = false;
        let want = slot.want.clone();
        let state = self.take_state(address);
        let next = match (state, want) {
            (State::Held(mut held), Some(want)) if !held.is_gone() => {
                let now = self.now;
                let answered = self.members.iter().any(|(_, member)| now.is_within(member.ack, CONFIRMED));
                let alone = self.members.iter().all(|(_, member)| member.vital != Vital::Alive);
                let works = self.links.get(&want.link).is_some_and(|state| state.link.carrier && !state.broken);
                if works && held.contest.is_none() && (answered || alone && self.hears(want.link, CONFIRMED)) {
                    if let Some(slot) = self.slots.get_mut(&address) {
                        slot.in_kernel = true;
                    }
                    self.act(Action::Add { address, link: want.link });
                    held.announce_again(now);
                    self.announce(address, want.link, &mut held);
                    State::Held(held)
                } else {
                    self.release(address, &held, Why::KernelLost, None);
                    if now < self.quiet_until {
                        State::Waiting(self.quiet_until)
                    } else {
                        self.begin(address, Cause::Lost, FEW, None)
                    }
                }
            }
            (State::Held(held), None) => self.release(address, &held, Why::KernelLost, None),
            (other, _) => other,
        };
        self.put_state(address, next);
    }

    /// Opens the gate: from now on claims may be made.
    pub(super) fn open_gate(&mut self) {
        if self.quiet_until <= self.now && self.quiet_until > self.started {
            self.quiet_until = self.started;
            self.all_dirty();
        }
        self.note_left();
        if self.open {
            return;
        }
        let Some(listed) = self.listed else { return };
        let settled = self.now.since(listed) >= ms(100);
        if self.now.since(listed) >= CONTACTS || settled && self.has_met_all() {
            self.open = true;
            self.all_dirty();
        }
    }

    /// Whether every member has answered and told the version of its claims. Asked at every event of a start, so it
    /// looks first at the one that was missing last time.
    fn has_met_all(&mut self) -> bool {
        let met = |member: &Member| member.ack.is_some() && member.status.version > 0;
        if self.unmet.as_ref().and_then(|node| self.members.get(node)).is_some_and(|member| !met(member)) {
            return false;
        }
        self.unmet = self.members.iter().find(|(_, member)| !met(member)).map(|(node, _)| node.clone());
        self.unmet.is_none()
    }

    /// We did not run for a while (stopped, suspended): nothing that we believe of others is sure.
    pub(super) fn on_pause(&mut self, gap: Duration) {
        let now = self.now;
        self.tell(Fact::Paused(gap));
        self.members.forgive(now);
        for watch in 0..self.watches.len() {
            if let Some(watch) = self.watches.get_mut(watch) {
                watch.forget();
            }
        }
        self.burst_next = None;
        self.quiet_until = now + QUIET;
        for state in self.links.values_mut() {
            state.answer = None;
        }
        let addresses: Vec<_> = self.slots.keys().copied().collect();
        for address in addresses {
            let state = self.take_state(address);
            let next = match state {
                State::Held(mut held) => {
                    if held.is_gone() {
                        // Whether the successor took it, its claim tells; else it is claimed anew.
                        self.release(address, &held, Why::Moved, None)
                    } else {
                        held.departure = None;
                        held.contest = None;
                        State::Held(held)
                    }
                }
                _ => State::Idle,
            };
            self.put_state(address, next);
        }
        self.act(Action::ReadKernel);
        let id = self.clock();
        let nodes: Vec<_> = self.members.iter().map(|(node, _)| node.clone()).take(64).collect();
        for node in nodes {
            // Who took over from us has a claim; its status in the answer says so.
            self.send(&node, Message::Ping(id));
        }
        self.members.next = now;
        self.watch_next = now;
    }
}
