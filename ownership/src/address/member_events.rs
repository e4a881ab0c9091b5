//! What members say of addresses: claims, and planned moves.

use std::net::IpAddr;

use crate::address::context::Context;
use crate::address::state::{Handover, State};
use crate::address::step::Step;
use crate::address::table::Addresses;
use crate::model::node::NodeId;
use crate::wire::{Epoch, Frame, Move};

impl Addresses {
    /// A member said by which epoch it holds an address. Returns whether that ended a probe of this node, so that
    /// whatever was believed of the member's liveness is wrong.
    pub fn claim_reply(
        &mut self,
        node: &NodeId,
        address: IpAddr,
        epoch: Option<Epoch>,
        context: &mut Context<'_>,
    ) -> bool {
        context.claims.put(node, address, epoch);
        self.mark(address);
        let mut ended = false;
        self.transition(address, context, |step, state| match state {
            State::Probing(probe) => {
                ended = epoch.is_some();
                step.claim_reply_while_probing(node, epoch, probe)
            }
            State::Owned(owned) => step.claim_reply_while_owned(node, epoch, owned),
            other => other,
        });
        ended
    }

    /// A member offers an address.
    pub fn offered(&mut self, node: &NodeId, step: Move, context: &mut Context<'_>) {
        let address = step.address;
        let Some((entry, spec)) = self.entries.get_mut(&address).and_then(|e| e.spec.clone().map(|spec| (e, spec)))
        else {
            return context.gossip.send(node, Frame::Decline(step));
        };
        if entry.state.owned().is_some() {
            return;
        }
        let mut here = Step { address, entry, context };
        if !here.is_willing(&spec) {
            return context.gossip.send(node, Frame::Decline(step));
        }
        if !here.hears(&spec) {
            // The offer comes again in 20 ms.
            return context.ask_witnesses(spec.link);
        }
        context.claims.put(node, address, Some(step.epoch));
        self.transition(address, context, |here, state| here.offered(node, step, state));
        context.gossip.send(node, Frame::Accept(step));
    }

    /// A successor accepts an address.
    pub fn accepted(&mut self, node: &NodeId, step: Move, context: &mut Context<'_>) {
        let now = context.now();
        let owned = self.entries.get(&step.address).and_then(|entry| entry.state.owned());
        let awaited = owned.is_some_and(|owned| {
            let offer = matches!(&owned.handover, Handover::Offering(offer) if offer.is_accepted_by(node, &step, now));
            offer && owned.epoch == step.epoch
        });
        if awaited {
            self.transition(step.address, context, |here, state| match state {
                State::Owned(owned) => here.accept(node, step, owned),
                other => other,
            });
        }
    }

    /// A successor declines an address.
    pub fn declined(&mut self, node: &NodeId, step: Move, context: &mut Context<'_>) {
        self.transition(step.address, context, |here, state| match state {
            State::Owned(owned) => here.decline(node, step, owned),
            other => other,
        });
    }

    /// The owner of an address says go.
    pub fn go(&mut self, node: &NodeId, step: Move, context: &mut Context<'_>) {
        self.transition(step.address, context, |here, state| here.go(node, step, state));
    }
}
