//! What is looked at from time to time, and what may wait for a moment.

use std::time::Duration;

use ownership::machine::MemberStatus;
use runtime::BootTime;

use super::{AT_ONCE, Driver};
use crate::gossip::Gossip;
use crate::local::Report;
use crate::local::table::COMPARE;

/// How often it is looked whether people must be told something of the members.
const LOOK: Duration = Duration::from_millis(250);
/// Between two attempts to get the gossip port.
const BIND: Duration = Duration::from_secs(5);
/// Between two readings of the kernel, whatever the occasion.
const READ: Duration = Duration::from_secs(1);
/// Between two writings of the state file: changes come in bursts. Whatever the last moment of a process is missing
/// there, its peers remember.
const SAVE: Duration = Duration::from_millis(50);

impl Driver {
    /// When something of this is due.
    pub(super) fn regular_wake(&self) -> BootTime {
        let read = self.compared + if self.unsure { READ } else { COMPARE };
        // The state file is behind by no more than that either.
        let other = [self.table.wake(), self.save_at()].into_iter().flatten();
        other.fold(read.min(self.looked + LOOK), BootTime::min)
    }

    /// Goes on with a picture that somebody wants.
    pub(super) fn draw(&mut self) {
        let Some((answer, mut picture)) = self.pictures.pop() else { return };
        let after = picture.addresses.last().map(|address| address.address);
        let before = picture.addresses.len();
        picture.addresses.extend(self.machine.addresses(after).take(AT_ONCE));
        if picture.addresses.len() == before {
            let _nobody_waits = answer.send(picture);
        } else {
            self.pictures.push((answer, picture));
        }
    }

    /// What is looked at from time to time.
    pub(super) fn look(&mut self) {
        let now = BootTime::now();
        if now.since(self.compared) >= if self.unsure { READ } else { COMPARE } {
            if let Some(event) = self.read_kernel() {
                self.feed(event);
            }
            self.refresh();
        }
        if now.since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        if self.gossip.is_none() && now >= self.bind_at {
            self.bind();
        }
        self.wire.leave(now);
        self.tell_members();
        self.metrics.ownership.held.set(i64::try_from(self.table.count()).unwrap_or(i64::MAX));
    }

    fn tell_members(&mut self) {
        let members: Vec<MemberStatus> = self.machine.member_statuses().collect();
        let brief = members.iter().map(|member| (member.node.clone(), (member.liveness, member.flags))).collect();
        let silent = self.machine.is_gossip_silent();
        let brief = Some((brief, silent));
        if brief != self.told {
            self.told = brief;
            self.report(Report::Members { members, silent });
        }
    }

    pub(super) fn bind(&mut self) {
        self.bind_at = BootTime::now() + BIND;
        let bound = Gossip::bind(self.port).map(|gossip| self.gossip = Some(gossip));
        self.metrics.ownership.port_bound.set(i64::from(bound.is_ok()));
        if self.port_told.replace(bound.is_ok()) != Some(bound.is_ok()) {
            self.report(Report::Port(bound.map_err(|error| error.to_string())));
        }
    }

    /// When the state file is to be written, if it is behind.
    fn save_at(&self) -> Option<BootTime> {
        let (saved, at) = self.saved?;
        (saved != self.machine.version()).then(|| at + SAVE)
    }

    /// The state file follows the claims.
    pub(super) fn save(&mut self, now: bool) {
        let (version, time) = (self.machine.version(), BootTime::now());
        if self.saved.is_some_and(|(saved, at)| saved == version || !now && time.since(at) < SAVE) {
            return;
        }
        self.saved = Some((version, time));
        self.claims.save(self.machine.claims());
        let highest = self.machine.claims().map(|(_, epoch)| epoch).max().unwrap_or(0);
        self.metrics.ownership.highest_epoch.set(i64::try_from(highest).unwrap_or(i64::MAX));
    }
}
