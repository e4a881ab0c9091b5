//! One step of one address: its entry, and the context of the decision. The files beside this one hold the transitions,
//! by state.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::address::context::Context;
use crate::address::entry::Entry;
use crate::address::state::State;
use crate::io::Action;
use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::spec::AddressSpec;
use crate::wire::Epoch;

/// An address while its state is taken out: a transition takes the state and returns the next one.
pub(super) struct Step<'a, 'b> {
    pub address: IpAddr,
    pub entry: &'a mut Entry,
    pub context: &'a mut Context<'b>,
}

impl Step<'_, '_> {
    /// Does what is due.
    pub fn run(&mut self, state: State) -> State {
        let strongest = self.context.claims.rivals(self.address).map(|(_, epoch)| epoch).max();
        self.note_epoch(strongest.unwrap_or(0));
        match state {
            State::Idle => self.idle(),
            State::Waiting { until } => self.waiting(until),
            State::Probing(probe) => self.probing(probe),
            State::Accepted(accepted) => self.accepted(accepted),
            State::Owned(owned) => self.owned(owned),
        }
    }

    /// How the address is to be served.
    pub fn spec(&self) -> Option<Arc<AddressSpec>> {
        self.entry.spec.clone()
    }

    /// The link that the address belongs to, if it is known.
    pub fn link(&self) -> Option<LinkId> {
        self.entry.spec.as_ref().map(|spec| spec.link)
    }

    pub fn note_epoch(&mut self, epoch: Epoch) {
        self.entry.highest_epoch = self.entry.highest_epoch.max(epoch);
    }

    /// The strongest claim of another node.
    pub fn rival(&self) -> Option<(NodeId, Epoch)> {
        self.context.claims.strongest(self.address).map(|(node, epoch)| (node.clone(), epoch))
    }

    /// Takes the address out of the kernel.
    pub fn remove(&mut self) {
        self.entry.in_kernel = false;
        let (address, link) = (self.address, self.link());
        self.context.gossip.out.act(Action::Remove { address, link });
    }

    /// Begins nothing for so long.
    pub fn back_off(&mut self, pause: Duration) -> State {
        let until = self.context.now() + pause;
        self.entry.backoff.until = Some(until);
        State::Waiting { until }
    }
}
