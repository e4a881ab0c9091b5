//! What the edge says of the kernel, for all addresses.

#![expect(clippy::redundant_closure_for_method_calls, reason = "a method of one lifetime is not one of all")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::address::context::Context;
use crate::address::step::Step;
use crate::address::table::Addresses;
use crate::io::Action;
use crate::wire::Epoch;

impl Addresses {
    /// The addresses that the kernel has, with the epochs of the state file. Before anything else is known they are
    /// adopted.
    pub fn kernel_read(&mut self, found: &[(IpAddr, Option<Epoch>)], context: &mut Context<'_>) {
        let listed: BTreeSet<_> = found.iter().map(|(address, _)| *address).collect();
        let missing = self.entries.iter().filter(|(address, entry)| entry.in_kernel && !listed.contains(*address));
        for address in missing.map(|(address, _)| *address).collect::<Vec<_>>() {
            self.kernel_lost(address, context);
        }
        let fresh = !context.startup.is_open() && !context.startup.addresses_listed;
        let mut adopted = false;
        for (address, epoch) in found {
            let entry = self.entries.entry(*address).or_default();
            entry.in_kernel = true;
            if fresh && entry.state.owned().is_none() {
                adopted = true;
                self.transition(*address, context, |step, _| step.adopt(epoch.unwrap_or(0)));
            }
            self.mark(*address);
        }
        if adopted {
            context.gossip.out.act(Action::Renew);
        }
    }

    /// An address of this node left its kernel.
    pub fn kernel_lost(&mut self, address: IpAddr, context: &mut Context<'_>) {
        if self.entries.get(&address).is_some_and(|entry| entry.in_kernel) {
            self.transition(address, context, |step, state| step.kernel_lost(state));
        }
    }

    /// The kernel refused an address.
    pub fn add_failed(&mut self, address: IpAddr, context: &mut Context<'_>) {
        self.unmark(address);
        self.transition(address, context, |step, state| step.add_failed(state));
    }

    /// What a peer knows of the claims of this node's former boot.
    pub fn former_claims(&mut self, claims: &[(IpAddr, Epoch)], context: &mut Context<'_>) {
        for (address, epoch) in claims {
            if let Some(entry) = self.entries.get_mut(address) {
                Step { address: *address, entry, context }.raise_epoch(*epoch);
            }
        }
    }
}
