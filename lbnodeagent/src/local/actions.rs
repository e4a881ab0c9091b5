//! Carrying out the protocol's actions in their order: when an action is carried out, those before it must have had
//! their effect.
//!
//! Successive changes of the kernel's addresses are written together. Announcements and facts between them come
//! right after the write. Every other action waits for the write.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ownership::{Action, Event, NodeId, Notification};

use super::driver::Driver;
use crate::kernel::netlink::requests::BATCH;

/// Writes to the kernel that are still to be done. All are of one kind.
#[derive(Default)]
struct Pending {
    adds: Vec<IpAddr>,
    removes: Vec<IpAddr>,
    /// What is to be done after them.
    after: Vec<Action>,
}

impl Driver {
    /// Carries actions out; returns the events that follow for the protocol.
    pub(super) fn perform(&mut self, actions: Vec<Action>) -> Vec<Event> {
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
                Action::Announce { .. } | Action::Introduce { .. } | Action::Notify(_) => pending.after.push(action),
                other => {
                    self.flush(&mut pending, &mut events);
                    self.perform_one(other, &mut events);
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
            self.perform_one(action, events);
        }
    }

    fn perform_one(&mut self, action: Action, events: &mut Vec<Event>) {
        match action {
            Action::Send { to, bytes } => self.send(to, &bytes),
            Action::Probe { link, target, to, kind } => self.links.ask(link, target, to, kind),
            Action::Announce { address, link } => {
                if self.table.holds(address) {
                    self.links.announce(link, address);
                }
            }
            Action::Introduce { address, link, host, to } => {
                if self.table.holds(address) {
                    self.links.introduce(link, address, host, to);
                }
            }
            Action::Renew => self.table.extend(),
            Action::ReadKernel => events.extend(self.read_kernel()),
            Action::Notify(fact) => self.report(fact),
            // Written together with others by `flush`.
            Action::Add { .. } | Action::Remove { .. } => {}
        }
    }
}

/// The address that this action takes over, and its previous owner.
fn taken_over(action: &Action) -> Option<(IpAddr, NodeId)> {
    match action {
        Action::Notify(Notification::Claimed { address, from: Some(from), .. }) => Some((*address, from.clone())),
        _ => None,
    }
}
