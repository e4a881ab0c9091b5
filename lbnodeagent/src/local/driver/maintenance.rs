//! Work that is done from time to time, or that may wait for a moment.

use std::time::Duration;

use ownership::machine::MemberStatus;
use runtime::BootTime;

use super::{AT_ONCE, Driver};
use crate::kernel::gossip::Gossip;
use crate::local::messages::Update;
use crate::local::table::COMPARE;

/// How often members, the gossip port and groups are looked at.
const MAINTAIN: Duration = Duration::from_millis(250);
/// The time between two attempts to bind the gossip port.
const BIND: Duration = Duration::from_secs(5);
/// The time between two readings of the kernel while the observed state is stale.
const READ: Duration = Duration::from_secs(1);
/// The time between two writes of the state file, for changes come in bursts. Claims of the last moment before a
/// crash are missing in the file, but the peers know them.
const SAVE: Duration = Duration::from_millis(50);

impl Driver {
    /// When the next of these is due.
    pub(super) fn maintenance_wake(&self) -> BootTime {
        let read = self.compared + if self.table.is_stale() { READ } else { COMPARE };
        // A write of the state file may be due earlier.
        let other = [self.table.wake(), self.save_at()].into_iter().flatten();
        other.fold(read.min(self.maintained + MAINTAIN), BootTime::min)
    }

    /// Continues with an answer to a question for the protocol's state.
    pub(super) fn continue_state_queries(&mut self) {
        let Some((answer, mut state)) = self.state_queries.pop() else { return };
        let after = state.addresses.last().map(|address| address.address);
        let before = state.addresses.len();
        state.addresses.extend(self.machine.addresses(after).take(AT_ONCE));
        if state.addresses.len() == before {
            let _nobody_waits = answer.send(state);
        } else {
            self.state_queries.push((answer, state));
        }
    }

    /// Does what is due.
    pub(super) fn maintain(&mut self) {
        let now = BootTime::now();
        if now.since(self.compared) >= if self.table.is_stale() { READ } else { COMPARE } {
            if let Some(event) = self.read_kernel() {
                self.dispatch(event);
            }
            self.refresh();
        }
        if now.since(self.maintained) < MAINTAIN {
            return;
        }
        self.maintained = now;
        if self.gossip.is_none() && now >= self.bind_at {
            self.bind();
        }
        self.links.leave(now);
        self.report_members();
        self.metrics.ownership.held.set(i64::try_from(self.table.count()).unwrap_or(i64::MAX));
    }

    fn report_members(&mut self) {
        let members: Vec<MemberStatus> = self.machine.member_statuses().collect();
        let brief = members.iter().map(|member| (member.node.clone(), (member.liveness, member.flags))).collect();
        let silent = self.machine.is_gossip_silent();
        let brief = Some((brief, silent));
        if brief != self.reported {
            self.reported = brief;
            self.send_update(Update::Members { members, silent });
        }
    }

    pub(super) fn bind(&mut self) {
        self.bind_at = BootTime::now() + BIND;
        let bound = Gossip::bind(self.port).map(|gossip| self.gossip = Some(gossip));
        self.metrics.ownership.port_bound.set(i64::from(bound.is_ok()));
        if self.port_reported.replace(bound.is_ok()) != Some(bound.is_ok()) {
            self.send_update(Update::Port(bound.map_err(|error| error.to_string())));
        }
    }

    /// When the state file is to be written, if it is out of date.
    fn save_at(&self) -> Option<BootTime> {
        let (saved, at) = self.saved?;
        (saved != self.machine.version()).then(|| at + SAVE)
    }

    /// Writes the state file if claims have changed; with `now`, without waiting.
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
