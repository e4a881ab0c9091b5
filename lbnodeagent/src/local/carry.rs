//! The protocol's actions, in their order: what a later one says must be true by then.
//!
//! Changes of the kernel's addresses that follow each other are written together. Announcements and messages for
//! people in between come right after them, everything else waits for them to be done.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ownership::{Action, Event, NodeId, Notification};

use super::driver::Driver;
use crate::netlink::BATCH;

/// Writes to the kernel that are still to be done, all of one kind.
#[derive(Default)]
struct Pending {
    adds: Vec<IpAddr>,
    removes: Vec<IpAddr>,
    /// What is to be done after them.
    after: Vec<Action>,
}

impl Driver {
    /// Carries actions out; returns what the protocol must be told of that.
    pub(super) fn carry_out(&mut self, actions: Vec<Action>) -> Vec<Event> {
        let mut pending = Pending::default();
        let mut events = Vec::new();
        for action in actions {
            match action {
                Action::Add { address, .. } => {
                    if !pending.removes.is_empty() || pending.adds.len() >= BATCH {
                        self.flush(&mut pending, &mut events);
                    }
                    pending.adds.push(address);
                }
                Action::Remove { address, .. } => {
                    if !pending.adds.is_empty() || pending.removes.len() >= BATCH {
                        self.flush(&mut pending, &mut events);
                    }
                    pending.removes.push(address);
                }
                Action::Announce { .. } | Action::Notify(_) => pending.after.push(action),
                other => {
                    self.flush(&mut pending, &mut events);
                    self.carry(other, &mut events);
                }
            }
        }
        self.flush(&mut pending, &mut events);
        events
    }

    fn flush(&mut self, pending: &mut Pending, events: &mut Vec<Event>) {
        let Pending { adds, removes, after } = std::mem::take(pending);
        if !removes.is_empty() {
            self.table.remove(&removes);
        }
        if !adds.is_empty() {
            let from: BTreeMap<IpAddr, NodeId> = after.iter().filter_map(taken_over).collect();
            let failed = self.table.add(&adds, &from);
            events.extend(failed.into_iter().map(Event::AddFailed));
        }
        for action in after {
            self.carry(action, events);
        }
    }

    fn carry(&mut self, action: Action, events: &mut Vec<Event>) {
        match action {
            Action::Send { to, bytes } => self.send(to, &bytes),
            Action::Probe { link, target, to, kind } => self.wire.ask(link, target, to, kind),
            Action::Announce { address, link } => {
                if self.table.holds(address) {
                    self.wire.announce(link, address);
                }
            }
            Action::Renew => self.table.extend(),
            Action::ReadKernel => events.extend(self.read_kernel()),
            Action::Notify(fact) => self.tell(fact),
            // Written together with others, above.
            Action::Add { .. } | Action::Remove { .. } => {}
        }
    }
}

/// The address that is taken over by this action, and from whom.
fn taken_over(action: &Action) -> Option<(IpAddr, NodeId)> {
    match action {
        Action::Notify(Notification::Claimed { address, from: Some(from), .. }) => Some((*address, from.clone())),
        _ => None,
    }
}
