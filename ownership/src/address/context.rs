//! What decisions about an address need from the rest of the machine: borrowed for one call.

use std::time::Duration;

use crate::address::budget::Budget;
use crate::address::view::View;
use crate::claims::Claims;
use crate::detector::{Detector, HEARING};
use crate::membership::Gossip;
use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::time::Time;
use crate::this_node::{Eligibility, KernelHoldings, Policy, Startup};

/// The rest of the machine, as decisions about an address see it.
#[derive(Debug)]
pub struct Context<'a> {
    /// Time, members, randomness and output.
    pub gossip: Gossip<'a>,
    /// Links, and what was heard there.
    pub detector: &'a mut Detector,
    /// Who claims what.
    pub claims: &'a mut Claims,
    /// How this node is configured.
    pub policy: &'a Policy,
    /// What this node may do.
    pub eligibility: &'a Eligibility,
    /// From when on claims may be made.
    pub startup: &'a Startup,
    /// What the kernel has that the machine did not put there.
    pub holdings: &'a KernelHoldings,
    /// How many questions a link gets.
    pub budget: &'a mut Budget,
}

impl Context<'_> {
    /// Now.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.gossip.now
    }

    /// This node.
    #[must_use]
    pub fn own(&self) -> &NodeId {
        self.gossip.own()
    }

    /// What choices among members need.
    #[must_use]
    pub const fn view(&self) -> View<'_> {
        View {
            now: self.gossip.now,
            members: self.gossip.members,
            detector: self.detector,
            eligibility: self.eligibility,
        }
    }

    /// Whether this node hears on a link.
    pub fn hears(&mut self, link: LinkId, within: Duration) -> bool {
        self.detector.hears(link, within, &mut self.gossip)
    }

    /// Asks some witnesses on a link, unless it was heard just now.
    pub fn make_sure_to_hear(&mut self, link: LinkId) {
        let heard = self.detector.link(link).and_then(|state| state.answer);
        if !self.now().is_within(heard, HEARING / 2) {
            self.ask_witnesses(link);
        }
    }

    /// Asks some witnesses on a link.
    pub fn ask_witnesses(&mut self, link: LinkId) {
        self.detector.ask_witnesses(link, None, &mut self.gossip);
    }
}
