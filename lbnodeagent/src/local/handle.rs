//! The agent's view of the protocol's thread: what it was sent and what it reported.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ownership::Liveness;
use ownership::machine::MemberStatus;
use ownership::wire::{EXCLUDED, SELECTED};
use runtime::BootTime;
use tokio::sync::mpsc;

use super::interfaces::LocalInterfaces;
use super::messages::{Applied, Command, ProtocolSettings, Start, Update};
use super::thread::ProtocolThread;
use crate::decide::decision::Exclusion;
use crate::model::candidacy::Candidacy;
use crate::model::operation::Purpose;
use crate::model::placement::Placement;
use crate::report::metrics::Metrics;

/// How long a node that is not selected any more keeps what it cannot hand over.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How long after the start the others may take to say whether they are excluded too.
const EXCLUSION: Duration = Duration::from_secs(2);

/// The local addresses of this node, as the agent knows them.
#[derive(Debug, Default)]
pub struct Local {
    /// Runs from the moment on in which the cluster is known.
    pub(crate) thread: Option<ProtocolThread>,
    updates: Option<mpsc::UnboundedReceiver<Update>>,
    /// The local addresses that the kernel has because of us.
    pub(crate) held: BTreeMap<IpAddr, Placement>,
    /// Those that were applied since the last pass.
    pub(crate) applied: BTreeMap<IpAddr, Applied>,
    /// The candidacies as last sent.
    pub(crate) candidacies: BTreeMap<IpAddr, Candidacy>,
    /// The interfaces as last sent.
    pub(crate) interfaces: LocalInterfaces,
    /// The settings as last sent.
    pub(crate) settings: ProtocolSettings,
    /// The other members as last reported.
    pub(crate) members: Option<Vec<MemberStatus>>,
    /// Whether gossip was silent when the members were last reported.
    pub(crate) silent: bool,
    started: Option<BootTime>,
    /// Since when no configuration applies to this node.
    unselected: Option<BootTime>,
    /// Every dummy interface since the start. What was left on one is ours to remove.
    pub(crate) dummies: BTreeSet<u32>,
    /// Every candidacy that follows from the first lists was sent.
    complete: bool,
    failed: bool,
    /// Whether the node was excluded in the last pass.
    exclusion: Option<Exclusion>,
}

impl Local {
    /// Starts the thread.
    pub(crate) fn start(&mut self, start: Start, metrics: Metrics, now: BootTime) {
        let (updates, received) = mpsc::unbounded_channel();
        match ProtocolThread::start(start, metrics, updates) {
            Ok(thread) => {
                self.thread = Some(thread);
                self.updates = Some(received);
                self.started = Some(now);
            }
            Err(error) => {
                tracing::error!(op = "ownership", %error, "cannot start the thread for local addresses");
                self.set_failed();
            }
        }
    }

    /// The thread cannot be started.
    pub(crate) const fn set_failed(&mut self) {
        self.failed = true;
    }

    /// Whether the thread could not be started.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the thread has been started.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.thread.is_some()
    }

    /// The next update: waits forever as long as there is no thread; nothing when the thread has ended.
    pub async fn next(&mut self) -> Option<Update> {
        match &mut self.updates {
            Some(updates) => updates.recv().await,
            None => std::future::pending().await,
        }
    }

    /// An update that has come already.
    pub fn try_next(&mut self) -> Option<Update> {
        self.updates.as_mut()?.try_recv().ok()
    }

    /// Sends a command, if the thread runs.
    pub(crate) fn send(&self, command: Command) {
        if let Some(thread) = &self.thread {
            // When it has ended, the end of its updates shows that.
            let _ended = thread.send(command);
        }
    }

    /// Sends the interfaces if they changed.
    pub(crate) fn send_interfaces(&mut self, interfaces: LocalInterfaces) {
        if interfaces != self.interfaces {
            self.interfaces = interfaces.clone();
            self.send(Command::Interfaces(Box::new(interfaces)));
        }
    }

    /// Sends the settings if they changed.
    pub(crate) fn send_settings(&mut self, settings: ProtocolSettings) {
        if settings != self.settings {
            self.settings = settings.clone();
            self.send(Command::Settings(settings));
        }
    }

    /// Sends a candidacy if it changed.
    pub(crate) fn send_candidacy(&mut self, ip: IpAddr, mut candidacy: Box<Candidacy>) {
        candidacy.want.rebalance = requested_move(self.candidacies.get(&ip), &candidacy.requests);
        if self.candidacies.get(&ip) != Some(&*candidacy) {
            self.candidacies.insert(ip, (*candidacy).clone());
            self.send(Command::Candidate(candidacy));
        }
    }

    /// Ends a candidacy. A node that is not selected any more keeps what it holds for a while, to hand it over.
    pub(crate) fn end_candidacy(&mut self, ip: IpAddr, now: BootTime) {
        if self.is_handing_over(now) && self.held.contains_key(&ip) {
            return;
        }
        if self.candidacies.remove(&ip).is_some() {
            self.send(Command::NoCandidate(ip));
        }
    }

    /// Says once that every candidacy that follows from the first lists was sent.
    pub(crate) fn send_completeness(&mut self) {
        if !self.complete && self.is_running() {
            self.complete = true;
            self.send(Command::CandidatesComplete);
        }
    }

    /// Takes over that the thread added or changed an address; returns where it was before, if that was elsewhere.
    pub(crate) fn note_applied(&mut self, applied: Applied) -> Option<Placement> {
        let ip = applied.placement.key.ip;
        let before = self.held.insert(ip, applied.placement).filter(|before| before.key != applied.placement.key);
        // Of several writes since the last pass, the purpose of the first one counts.
        let merged = match self.applied.remove(&ip) {
            Some(first) if first.purpose == Some(Purpose::Add) => Applied { placement: applied.placement, ..first },
            _ => applied,
        };
        self.applied.insert(ip, merged);
        before
    }

    /// Takes over that the thread removed an address.
    pub(crate) fn note_withdrawn(&mut self, ip: IpAddr) {
        self.held.remove(&ip);
        self.applied.remove(&ip);
    }

    /// The other live members.
    pub(crate) fn live(&self) -> impl Iterator<Item = &MemberStatus> {
        self.members.iter().flatten().filter(|member| member.liveness == Liveness::Alive)
    }

    /// A configuration applies to this node, or none does any more.
    pub(crate) fn note_selected(&mut self, selected: bool, now: BootTime) {
        self.unselected = (!selected).then(|| self.unselected.unwrap_or(now));
    }

    /// Whether no configuration applies to this node any more and there is time to hand addresses over.
    #[must_use]
    pub fn is_handing_over(&self, now: BootTime) -> bool {
        self.unselected.is_some_and(|since| now.since(since) < HAND_OVER)
    }

    /// Whether the time to hand addresses over has passed.
    #[must_use]
    pub fn has_handed_over(&self, now: BootTime) -> bool {
        self.unselected.is_some_and(|since| now.since(since) >= HAND_OVER)
    }

    /// Whether this node is excluded, given what is known of the others: the label counts only as long as another node
    /// without it can answer.
    #[must_use]
    pub fn exclusion(&self, now: BootTime) -> Exclusion {
        if !self.settings.excluded {
            return Exclusion::No;
        }
        // While gossip is silent, what the others said last counts. Whether an agent of another version is excluded is
        // not known.
        let here = |member: &MemberStatus| member.liveness == Liveness::Alive || self.silent && member.lease_alive;
        let able: Vec<&MemberStatus> =
            self.members.iter().flatten().filter(|member| here(member) && member.flags & SELECTED != 0).collect();
        if able.iter().any(|member| member.heard && member.flags & EXCLUDED == 0) {
            Exclusion::Yes
        } else if able.iter().any(|member| !member.heard)
            || self.members.iter().flatten().any(|member| member.other_version)
            || self.started.is_none_or(|started| now.since(started) < EXCLUSION)
        {
            Exclusion::Unknown
        } else {
            Exclusion::No
        }
    }

    /// Returns whether the exclusion differs from what it was at the last call. It may change with time alone.
    pub(crate) fn exclusion_changed(&mut self, now: BootTime) -> bool {
        let exclusion = Some(self.exclusion(now));
        std::mem::replace(&mut self.exclusion, exclusion) != exclusion
    }
}

/// The request for a move that counts: a new value of the annotation, if there is one. Nothing is requested when a
/// Service with an old value begins or ceases to share the address, or when the annotation is removed.
fn requested_move(before: Option<&Candidacy>, requests: &BTreeSet<u64>) -> u64 {
    let Some(before) = before else { return requests.first().copied().unwrap_or(0) };
    requests.difference(&before.requests).next().copied().unwrap_or(before.want.rebalance)
}

#[cfg(test)]
mod tests {
    use api_types::AddressAttributes;
    use ownership::{AddressSpec, LinkId, Qualified};

    use super::*;
    use crate::model::placement::Kind;
    use crate::model::testing::key;

    fn candidacy(rebalance: u64, requests: &[u64]) -> Candidacy {
        let key = key(2, "192.0.2.1/24");
        let want = AddressSpec {
            address: key.ip,
            link: LinkId(2),
            qualified: Qualified::All,
            rebalance,
            free: None,
            skip_probe: false,
            announced_by: None,
        };
        let placement = Placement { kind: Kind::Local, key, aggregate: None, attributes: AddressAttributes::LOCAL };
        Candidacy { want, placement, requests: requests.iter().copied().collect() }
    }

    #[test]
    fn only_a_new_value_asks_for_a_move() {
        let before = candidacy(7, &[7, 9]);
        for (requests, expected) in [(&[7, 9][..], 7), (&[9], 7), (&[], 7), (&[7, 9, 3], 3), (&[11], 11)] {
            let requests = requests.iter().copied().collect();
            assert_eq!(requested_move(Some(&before), &requests), expected, "{requests:?}");
        }
        assert_eq!(requested_move(None, &[5].into()), 5);
        assert_eq!(requested_move(None, &BTreeSet::new()), 0);
    }
}
