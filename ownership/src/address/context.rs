//! What decisions about an address need from the rest of the machine: borrowed for one call.

use std::time::Duration;

use crate::address::view::View;
use crate::claims::Claims;
use crate::detector::Detector;
use crate::membership::Gossip;
use crate::model::link::LinkId;
use crate::model::node::NodeId;
use crate::model::time::{Time, ms};
use crate::this_node::{Eligibility, Policy, Startup};

/// When to look again at an address that a silent agent's kernel serves.
const LOOK: Duration = ms(250);
/// The most such looks per second.
const LOOKS: u32 = 1000;

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

    /// When to look again at an address that a silent agent's kernel serves: every 250 ms, or less often if the agent
    /// has very many.
    #[must_use]
    pub fn look_interval(&self, owner: &NodeId) -> Duration {
        let many = u32::try_from(self.claims.of(owner).count()).unwrap_or(u32::MAX);
        LOOK.max(ms(1000) * many / LOOKS)
    }

    /// Whether this node hears on a link.
    pub fn hears(&mut self, link: LinkId, within: Duration) -> bool {
        self.detector.hears(link, within, &mut self.gossip)
    }

    /// Asks some witnesses on a link.
    pub fn ask_witnesses(&mut self, link: LinkId) {
        self.detector.ask_witnesses(link, None, &mut self.gossip);
    }
}
