//! Local addresses: what the protocol's thread is told, and what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api_types::Family;
use api_types::names::reason;
use ownership::machine::MemberStatus;
use ownership::{Liveness, NodeId, Qualified, order};
use runtime::BootTime;
use runtime::events::Kind as Urgency;
use tokio::sync::mpsc;

use super::Agent;
use crate::desired::{Candidacy, Exclusion, Placement};
use crate::local::{Command, Local, Placed, Report, Rules, Scope, Wanted};
use crate::reconcile::Why;
use crate::services::ServiceName;

/// How long a node that is not selected any more keeps what it cannot hand over.
pub(super) const HAND_OVER: Duration = Duration::from_secs(5);

/// The agent's view of the protocol's thread.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Runs from the first complete picture of the cluster on.
    pub(super) thread: Option<Local>,
    pub(super) reports: Option<mpsc::UnboundedReceiver<Report>>,
    /// The local addresses that the kernel has because of us.
    pub(super) held: BTreeMap<IpAddr, Placement>,
    /// What is to be said of those that came since the last pass.
    pub(super) placed: BTreeMap<IpAddr, Placed>,
    /// The Services with the traffic policy `Local` that were told that it counts for this address.
    pub(super) policy_told: BTreeMap<IpAddr, BTreeSet<ServiceName>>,
    /// What the thread was told.
    pub(super) wanted: BTreeMap<IpAddr, Wanted>,
    pub(super) scope: Scope,
    pub(super) rules: Rules,
    /// What the thread says of the members.
    pub(super) members: Option<Vec<MemberStatus>>,
    pub(super) silent: bool,
    pub(super) started: Option<BootTime>,
    /// Since when no configuration applies to this node.
    pub(super) unselected: Option<BootTime>,
    /// Every dummy interface since the start: what was there is ours to remove.
    pub(super) dummies: BTreeSet<u32>,
    /// It was told every address of the first lists.
    pub(super) complete: bool,
    /// The thread could not be started.
    pub(super) failed: bool,
    /// What the last pass knew of the node's exclusion.
    pub(super) exclusion: Option<Exclusion>,
}

impl Side {
    /// The next report; never, while there is no thread. Nothing when the thread has ended.
    pub(super) async fn next(&mut self) -> Option<Report> {
        match &mut self.reports {
            Some(reports) => reports.recv().await,
            None => std::future::pending().await,
        }
    }

    /// A report that is there already.
    pub(super) fn try_next(&mut self) -> Option<Report> {
        self.reports.as_mut()?.try_recv().ok()
    }

    /// Whether local addresses cannot be dealt with.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed
    }

    pub(super) const fn is_running(&self) -> bool {
        self.thread.is_some()
    }

    pub(super) const fn thread(&self) -> Option<&Local> {
        self.thread.as_ref()
    }

    /// Ends the conversation.
    pub(super) fn take(&mut self) -> Option<Local> {
        self.thread.take()
    }

    /// The interfaces for remote addresses.
    pub(super) const fn remote_links(&self) -> &BTreeSet<u32> {
        &self.scope.remote_links
    }

    pub(super) fn tell(&self, command: Command) {
        if let Some(thread) = &self.thread {
            // If it has ended, the end of its reports says so.
            let _ended = thread.tell(command);
        }
    }

    /// The live members, this node left out.
    pub(super) fn live(&self) -> impl Iterator<Item = &MemberStatus> {
        self.members.iter().flatten().filter(|member| member.liveness == Liveness::Alive)
    }
}

impl Agent {
    /// Tells the thread whether this node takes part in an address.
    pub(super) fn tell_candidacy(&mut self, ip: IpAddr, candidacy: Candidacy) {
        match candidacy {
            Candidacy::AsBefore => {}
            Candidacy::Yes(wanted) => {
                self.count_fallback(ip, &wanted.want.qualified);
                let mut wanted = wanted;
                wanted.want.rebalance = request(self.side.wanted.get(&ip), &wanted.requests);
                if self.side.wanted.get(&ip) != Some(&*wanted) {
                    self.tell_nobody(ip, &wanted.want.qualified);
                    self.side.wanted.insert(ip, (*wanted).clone());
                    self.side.tell(Command::Want(wanted));
                }
            }
            Candidacy::No => {
                let handing_over = self.side.unselected.is_some_and(|since| BootTime::now().since(since) < HAND_OVER);
                if handing_over && self.side.held.contains_key(&ip) {
                    return;
                }
                if self.side.wanted.remove(&ip).is_some() {
                    self.side.tell(Command::Unwant(ip));
                }
            }
        }
    }

    /// Sharers of an address may ask for what no node has. It stays where it is, and that node says so; if nobody has
    /// it, whoever would be the first to take it does.
    fn tell_nobody(&self, ip: IpAddr, qualified: &Qualified) {
        let nobody = matches!(qualified, Qualified::Tiers(tiers) if tiers.iter().all(BTreeSet::is_empty));
        if !nobody || self.side.members.is_none() || self.world.services.of(ip).nth(1).is_none() {
            return;
        }
        let what = if self.side.held.contains_key(&ip) {
            format!("node {} keeps it", self.settings.node)
        } else if self.is_announced(ip) || !self.is_first(ip) {
            return;
        } else {
            "nobody answers for it".to_owned()
        };
        let text = format!(
            "externalTrafficPolicy is Local, and no node has an endpoint of every Service that shares {ip}: {what}"
        );
        self.tell_users(ip, Urgency::Warning, reason::NO_ELIGIBLE_NODES, &text);
    }

    /// Whether a Service says that a node announces the address which lives.
    fn is_announced(&self, ip: IpAddr) -> bool {
        let announcing = self.world.services.of(ip).filter_map(|service| service.announcing(Family::of(ip)));
        let mut nodes = announcing.filter_map(|text| text.split(',').next());
        nodes.any(|node| node == self.settings.node || self.side.live().any(|member| member.node.as_str() == node))
    }

    /// Whether this node is the first in order of those that reach the address and live.
    fn is_first(&self, ip: IpAddr) -> bool {
        let Some(node) = NodeId::new(&self.settings.node) else { return false };
        let mut others = self.side.live().filter(|member| self.world.members.reaches(member.node.as_str(), ip));
        others.all(|other| order::precedes(&node, &other.node, &ip))
    }

    /// There are preferred nodes, and none of them can answer.
    fn count_fallback(&self, ip: IpAddr, qualified: &Qualified) {
        let Qualified::Preferred(nodes) = qualified else { return };
        let live =
            |node: &NodeId| node.as_str() == self.settings.node || self.side.live().any(|member| member.node == *node);
        if !nodes.is_empty() && !nodes.iter().any(live) {
            self.outside.metrics.affinity_fallback.with_label_values(&[&ip.to_string()]).inc();
        }
    }

    /// Takes over what the thread says.
    pub(super) fn heed(&mut self, report: Report) {
        match report {
            Report::Placed(placed) => {
                let ip = placed.placement.key.ip;
                if let Some(before) = self.side.held.insert(ip, placed.placement)
                    && before.key != placed.placement.key
                {
                    self.record.remove(&before.key);
                }
                // Of several writes since the last pass, what the first one was for counts.
                let earlier = self.side.placed.remove(&ip);
                let news = match earlier {
                    Some(earlier) if earlier.why == Some(Why::Add) => Placed { placement: placed.placement, ..earlier },
                    _ => placed,
                };
                self.side.placed.insert(ip, news);
                self.world.mark([ip]);
            }
            Report::Withdrawn(key) => {
                self.side.held.remove(&key.ip);
                self.side.placed.remove(&key.ip);
                self.record.remove(&key);
                self.world.mark([key.ip]);
            }
            Report::Failed(failure) => self.report_failure(failure),
            Report::Members { members, silent } => self.heed_members(members, silent),
            Report::Port(Ok(())) => tracing::info!(op = "gossip", port = self.settings.gossip_port, "listening"),
            Report::Port(Err(error)) => {
                tracing::warn!(op = "gossip", %error, "no gossip: Leases tell who lives, and failover takes seconds");
                let text = format!("no gossip with the other agents, so that failover takes seconds: {error}");
                self.tell_node(reason::GOSSIP_PORT_UNAVAILABLE, &text);
            }
            Report::Notification(fact) => self.heed_fact(fact),
        }
    }

    fn heed_members(&mut self, members: Vec<MemberStatus>, silent: bool) {
        let names = |side: &Side| -> Vec<String> { side.live().map(|member| member.node.to_string()).collect() };
        let (first, before) = (self.side.members.is_none(), names(&self.side));
        self.side.members = Some(members);
        let after = names(&self.side);
        if before != after {
            tracing::info!(op = "members", members = after.join(","), "members changed");
        }
        // Our own Lease has to hurry then.
        self.interfaces_changed |= silent != self.side.silent;
        self.side.silent = silent;
        let metrics = &self.outside.metrics;
        let count = |liveness: Liveness| {
            let count = self.side.members.iter().flatten().filter(|member| member.liveness == liveness).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        metrics.members.set(count(Liveness::Alive).saturating_add(1));
        metrics.ownership.suspects.set(count(Liveness::Suspect));
        metrics.ownership.silent.set(count(Liveness::Silent));
        metrics.ownership.gossip_silent.set(i64::from(silent));
        let subnets = self.world.members.count_subnets(after.iter().map(String::as_str));
        metrics.subnets.set(i64::try_from(subnets).unwrap_or(i64::MAX));
        self.note_exclusion(BootTime::now());
        if first || before != after {
            for (ip, wanted) in &self.side.wanted {
                self.tell_nobody(*ip, &wanted.want.qualified);
            }
        }
    }
}

/// The request for a move that counts: a new value, if there is one. That a Service which shares the address comes or
/// goes with an old one, or that the annotation is taken away, asks for nothing.
fn request(before: Option<&Wanted>, requests: &BTreeSet<u64>) -> u64 {
    let Some(before) = before else { return requests.first().copied().unwrap_or(0) };
    requests.difference(&before.requests).next().copied().unwrap_or(before.want.rebalance)
}

#[cfg(test)]
mod tests {
    use api_types::AddressAttributes;
    use ownership::{AddressSpec, LinkId};

    use super::*;
    use crate::desired::Kind;
    use crate::observed::testing::key;

    fn wanted(rebalance: u64, requests: &[u64]) -> Wanted {
        let key = key(2, "192.0.2.1/24");
        let want = AddressSpec {
            address: key.ip,
            link: LinkId(2),
            qualified: Qualified::All,
            rebalance,
            free: None,
            skip_probe: false,
        };
        let placement = Placement { kind: Kind::Local, key, attributes: AddressAttributes::LOCAL };
        Wanted { want, placement, requests: requests.iter().copied().collect() }
    }

    #[test]
    fn only_a_new_value_asks_for_a_move() {
        let before = wanted(7, &[7, 9]);
        for (requests, expected) in [(&[7, 9][..], 7), (&[9], 7), (&[], 7), (&[7, 9, 3], 3), (&[11], 11)] {
            assert_eq!(request(Some(&before), &requests.iter().copied().collect()), expected, "{requests:?}");
        }
        assert_eq!(request(None, &[5].into()), 5);
        assert_eq!(request(None, &BTreeSet::new()), 0);
    }
}
