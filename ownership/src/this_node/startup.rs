//! From when on claims may be made: after the first contacts, and after the silence that follows a pause.

use std::time::Duration;

use crate::membership::{Member, Membership};
use crate::model::node::NodeId;
use crate::model::time::{Time, ms};

/// How long the first contacts may take before anything is claimed.
const CONTACTS: Duration = ms(1000);
/// How long the first contacts take at least.
const SETTLE: Duration = ms(100);
/// After a pause nothing is begun for so long, so that news can come in.
const QUIET: Duration = ms(300);

/// How far the start has come.
#[derive(Debug)]
pub struct Startup {
    /// When the machine was made.
    pub started: Time,
    /// Whether the first lists of what is to be served are complete.
    pub addresses_listed: bool,
    /// When the Leases were first listed.
    listed: Option<Time>,
    /// Whether the first contacts are made: from then on claims may be made.
    open: bool,
    /// A member whose first contact is not made.
    unmet: Option<NodeId>,
    /// Nothing is begun before this time.
    quiet_until: Option<Time>,
}

impl Startup {
    /// Begins now.
    #[must_use]
    pub const fn new(now: Time) -> Self {
        Self { started: now, addresses_listed: false, listed: None, open: false, unmet: None, quiet_until: None }
    }

    /// The Leases are listed.
    pub fn note_listed(&mut self, now: Time) {
        self.listed = self.listed.or(Some(now));
    }

    /// This node did not run for a while.
    pub fn pause(&mut self, now: Time) {
        self.quiet_until = Some(now + QUIET);
    }

    /// Whether the first contacts are made.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Until when nothing is begun after a pause.
    #[must_use]
    pub fn quiet_until(&self, now: Time) -> Option<Time> {
        self.quiet_until.filter(|until| now < *until)
    }

    /// Whether claims and moves may be begun.
    #[must_use]
    pub fn may_begin(&self, now: Time) -> bool {
        self.open && self.quiet_until(now).is_none()
    }

    /// Goes on with the start; returns whether claims may be made from now on that could not be made before.
    pub fn advance(&mut self, members: &Membership, now: Time) -> bool {
        let quiet_ended = self.quiet_until.is_some_and(|until| until <= now);
        if quiet_ended {
            self.quiet_until = None;
        }
        let opens = !self.open && self.are_contacts_made(members, now);
        self.open |= opens;
        quiet_ended || opens
    }

    fn are_contacts_made(&mut self, members: &Membership, now: Time) -> bool {
        let Some(listed) = self.listed else { return false };
        now.since(listed) >= CONTACTS || now.since(listed) >= SETTLE && self.has_met_all(members)
    }

    /// Whether every member has answered and said the version of its claims. Asked at every event of a start, so it
    /// looks first at the member that was missing last time.
    fn has_met_all(&mut self, members: &Membership) -> bool {
        let met = |member: &Member| member.ack.is_some() && member.status.version > 0;
        if self.unmet.as_ref().and_then(|node| members.get(node)).is_some_and(|member| !met(member)) {
            return false;
        }
        self.unmet = members.iter().find(|(_, member)| !met(member)).map(|(node, _)| node.clone());
        self.unmet.is_none()
    }
}
