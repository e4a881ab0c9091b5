//! Local addresses: what the protocol's thread is told, and what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api_types::ConflictDetection;
use api_types::names::reason;
use k8s_openapi::api::core::v1::ObjectReference;
use ownership::machine::MemberState;
use ownership::wire::{EXCLUDED, SELECTED};
use ownership::{ConflictPolicy, Fact, NodeId, Qualified, Refusal, Vital};
use runtime::BootTime;
use runtime::events::{Event, Kind as Urgency};
use tokio::sync::mpsc;

use super::Agent;
use crate::desired::{Candidacy, Exclusion, Placement};
use crate::interfaces::remote_links;
use crate::local::{Command, Local, Placed, Report, Rules, Scope, Start, Wanted};
use crate::metrics::{cause_word, why_word};
use crate::reconcile::Why;

/// How long a node that is not selected any more keeps what it cannot hand over.
const HAND_OVER: Duration = Duration::from_secs(5);
/// How long after the start others may take to say whether they are excluded too.
const EXCLUSION: Duration = Duration::from_secs(2);

/// The agent's view of the protocol's thread.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Runs from the first complete picture of the cluster on.
    thread: Option<Local>,
    reports: Option<mpsc::UnboundedReceiver<Report>>,
    /// The local addresses that the kernel has because of us.
    pub(super) held: BTreeMap<IpAddr, Placement>,
    /// What is to be said of those that came since the last pass.
    pub(super) placed: BTreeMap<IpAddr, Placed>,
    /// What the thread was told.
    pub(super) wanted: BTreeMap<IpAddr, Wanted>,
    scope: Scope,
    rules: Rules,
    /// What the thread says of the members.
    pub(super) members: Vec<MemberState>,
    pub(super) silent: bool,
    started: Option<BootTime>,
    /// Since when no configuration applies to this node.
    unselected: Option<BootTime>,
    /// Every dummy interface since the start: what was there is ours to remove.
    dummies: BTreeSet<u32>,
    /// It was told every address of the first lists.
    complete: bool,
    /// The thread could not be started.
    failed: bool,
    /// What the last pass knew of the node's exclusion.
    exclusion: Option<Exclusion>,
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

    fn tell(&self, command: Command) {
        if let Some(thread) = &self.thread {
            // If it has ended, the end of its reports says so.
            let _ended = thread.tell(command);
        }
    }

    /// The live members, this node left out.
    pub(super) fn live(&self) -> impl Iterator<Item = &MemberState> {
        self.members.iter().filter(|member| member.vital == Vital::Alive)
    }
}

impl Agent {
    /// Tells the thread what changed in interfaces, configuration, members and keys; starts it in the first complete
    /// pass.
    pub(super) fn tell_circumstances(&mut self) {
        let now = BootTime::now();
        let scope = self.scope(now);
        let rules = self.rules();
        let peers = self.world.members_changed().then(|| self.world.members.peers(now));
        let keys = self.world.keys_changed().then(|| self.world.keys.clone()).flatten();
        if self.side.is_running() {
            if scope != self.side.scope {
                self.side.scope = scope.clone();
                self.side.tell(Command::Scope(Box::new(scope)));
            }
            if rules != self.side.rules {
                self.side.rules = rules.clone();
                self.side.tell(Command::Rules(rules));
            }
            if let Some(keys) = keys {
                tracing::info!(op = "gossipKey", "the gossip's key changed");
                self.side.tell(Command::Keys(Box::new(keys)));
            }
        } else {
            self.side.scope = scope;
            self.side.rules = rules;
            self.start_thread(now);
        }
        if let Some(peers) = peers {
            self.side.tell(Command::Members(peers));
        }
    }

    /// Says once that every wanted address of the first lists was told. Where the endpoints count, theirs is one of
    /// them: an address that is only not wanted because they are not known yet must not be given up.
    pub(super) fn tell_completeness(&mut self) {
        let known = !self.world.services.need_endpoints() || self.world.endpoints.is_complete();
        if known && !self.side.complete && self.side.is_running() {
            self.side.complete = true;
            self.side.tell(Command::WantsComplete);
        }
    }

    /// What is known of the node's exclusion may change with time alone.
    pub(super) fn note_exclusion(&mut self, now: BootTime) {
        let exclusion = Some(self.exclusion(now));
        if exclusion != self.side.exclusion {
            self.side.exclusion = exclusion;
            self.world.mark_all();
        }
    }

    fn start_thread(&mut self, now: BootTime) {
        let Some(keys) = self.world.keys.clone() else { return };
        let Some(node) = NodeId::new(&self.settings.node) else {
            self.side.failed = true;
            return tracing::error!(op = "ownership", "the node's name is empty or too long");
        };
        let start = Start {
            node,
            keys,
            port: self.settings.gossip_port,
            run_dir: self.settings.run_dir.clone(),
            stop_grace: self.settings.stop_grace,
            recorded: self.record.keys().clone(),
            scope: self.side.scope.clone(),
            rules: self.side.rules.clone(),
        };
        let (reports, received) = mpsc::unbounded_channel();
        match Local::start(start, self.outside.metrics.clone(), reports) {
            Ok(thread) => {
                self.side.thread = Some(thread);
                self.side.reports = Some(received);
                self.side.started = Some(now);
            }
            Err(error) => {
                self.side.failed = true;
                tracing::error!(op = "ownership", %error, "cannot start the thread for local addresses");
            }
        }
    }

    fn scope(&mut self, now: BootTime) -> Scope {
        self.side.dummies.extend(self.dummy);
        let mut links = remote_links(&self.observed, self.dummy, &self.selection);
        links.extend(self.side.dummies.iter().filter(|index| !self.selection.has(**index)));
        // Without a configuration there are no interfaces either, but what is here is to be handed over first.
        let selection = match (self.mode.config(), self.side.unselected) {
            (None, Some(since)) if now.since(since) < HAND_OVER => self.side.scope.selection.clone(),
            _ => self.selection.clone(),
        };
        let mut gateways: BTreeMap<u32, BTreeSet<IpAddr>> = BTreeMap::new();
        for route in &self.observed.routes {
            gateways.entry(route.index).or_default().extend(route.gateway);
        }
        gateways.retain(|index, _| selection.has(*index));
        Scope { selection, remote_links: links, node_addresses: self.node_addresses().clone(), gateways }
    }

    fn rules(&self) -> Rules {
        let config = self.mode.config();
        let policy = config.map_or(ConflictPolicy::default(), |config| match config.conflict_detection {
            ConflictDetection::Enforce => ConflictPolicy::Enforce,
            ConflictDetection::Warn => ConflictPolicy::Warn,
            ConflictDetection::Off => ConflictPolicy::Off,
        });
        Rules {
            policy,
            announcements: config.map_or_else(Vec::new, |config| config.announcements.schedule.clone()),
            selected: config.is_some(),
            excluded: self.world.node.as_ref().is_some_and(|node| node.excluded),
            current: self.world.watches_current(),
        }
    }

    /// The configuration has gone, or come.
    pub(super) fn note_selected(&mut self, now: BootTime) {
        self.side.unselected = self.mode.config().is_none().then(|| self.side.unselected.unwrap_or(now));
    }

    /// When what could not be handed over is given up.
    pub(super) fn hand_over_ends(&mut self, now: BootTime) {
        if let Some(since) = self.side.unselected
            && now.since(since) >= HAND_OVER
            && !self.side.wanted.is_empty()
        {
            self.interfaces_changed = true;
            self.world.mark_all();
        }
    }

    /// Whether this node is excluded, now that it is known of the others.
    pub(super) fn exclusion(&self, now: BootTime) -> Exclusion {
        if !self.side.rules.excluded {
            return Exclusion::No;
        }
        // Without gossip the last that was said of them counts.
        let here = |member: &MemberState| member.vital == Vital::Alive || self.side.silent && member.lease_alive;
        let able: Vec<&MemberState> = self.side.members.iter().filter(|m| here(m) && m.flags & SELECTED != 0).collect();
        if able.iter().any(|member| member.heard && member.flags & EXCLUDED == 0) {
            Exclusion::Yes
        } else if able.iter().any(|member| !member.heard)
            || self.side.started.is_none_or(|started| now.since(started) < EXCLUSION)
        {
            Exclusion::Unknown
        } else {
            Exclusion::No
        }
    }

    /// Tells the thread whether this node takes part in an address.
    pub(super) fn tell_candidacy(&mut self, ip: IpAddr, candidacy: Candidacy) {
        match candidacy {
            Candidacy::AsBefore => {}
            Candidacy::Yes(wanted) => {
                self.count_fallback(ip, &wanted.want.qualified);
                let mut wanted = wanted;
                wanted.want.rebalance = request(self.side.wanted.get(&ip), &wanted.requests);
                if self.side.wanted.get(&ip) != Some(&*wanted) {
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
                self.side.held.insert(ip, placed.placement);
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
            Report::Failed(key, errno) => self.report_failure(key.ip, key.index, errno),
            Report::Members { members, silent } => self.heed_members(members, silent),
            Report::Port(Ok(())) => tracing::info!(op = "gossip", port = self.settings.gossip_port, "listening"),
            Report::Port(Err(error)) => {
                tracing::warn!(op = "gossip", %error, "no gossip: Leases tell who lives, and failover takes seconds");
                let text = format!("no gossip with the other agents, so that failover takes seconds: {error}");
                self.tell_node(reason::GOSSIP_PORT_UNAVAILABLE, &text);
            }
            Report::Fact(fact) => self.heed_fact(fact),
        }
    }

    fn heed_members(&mut self, members: Vec<MemberState>, silent: bool) {
        let names = |members: &[MemberState]| -> Vec<String> {
            members.iter().filter(|member| member.vital == Vital::Alive).map(|member| member.node.to_string()).collect()
        };
        let (before, after) = (names(&self.side.members), names(&members));
        if before != after {
            tracing::info!(op = "members", members = after.join(","), "members changed");
        }
        // Our own Lease has to hurry then.
        self.interfaces_changed |= silent != self.side.silent;
        (self.side.members, self.side.silent) = (members, silent);
        let metrics = &self.outside.metrics;
        let count = |vital: Vital| {
            let count = self.side.members.iter().filter(|member| member.vital == vital).count();
            i64::try_from(count).unwrap_or(i64::MAX)
        };
        metrics.members.set(count(Vital::Alive).saturating_add(1));
        metrics.ownership.suspects.set(count(Vital::Suspect));
        metrics.ownership.silent.set(count(Vital::Silent));
        metrics.ownership.gossip_silent.set(i64::from(silent));
        let subnets = self.world.members.count_subnets(after.iter().map(String::as_str));
        metrics.subnets.set(i64::try_from(subnets).unwrap_or(i64::MAX));
        self.note_exclusion(BootTime::now());
    }

    fn heed_fact(&self, fact: Fact) {
        let node = &self.settings.node;
        let warn = |address: IpAddr, reason: &'static str, text: &str| {
            tracing::warn!(op = "ownership", event = reason, ip = %address, "{text}");
            self.tell_users(address, Urgency::Warning, reason, text);
        };
        match fact {
            Fact::Claimed { address, epoch, cause, from, without } => {
                let from = from.map(|from| from.to_string());
                let millis = without.map(|without| u64::try_from(without.as_millis()).unwrap_or(u64::MAX));
                tracing::info!(op = "claim", ip = %address, epoch, cause = cause_word(cause), from, silentMillis = millis, "claimed");
            }
            Fact::Released { address, why, to } => {
                let to = to.map(|to| to.to_string());
                tracing::info!(op = "release", ip = %address, reason = why_word(why), to, "given up");
            }
            Fact::AddressConflict { address, mac, defended: false } => {
                let text = format!(
                    "{mac}, which is no node of this cluster, answers for {address}: node {node} does not claim it while that is so; find the host or take the address out of the pool"
                );
                warn(address, reason::ADDRESS_CONFLICT, &text);
            }
            Fact::AddressConflict { address, mac, defended: true } => {
                let text = format!(
                    "{mac}, which is no node of this cluster, says that it has {address}: node {node} defends the address; find the host or take the address out of the pool"
                );
                warn(address, reason::ADDRESS_CONFLICT, &text);
            }
            Fact::StrictArpNeeded { node: other, address } => {
                let text = format!(
                    "node {other} answers ARP for {address} without announcing it: set strictARP in kube-proxy's ipvs configuration, or net.ipv4.conf.all.arp_ignore to 1 there"
                );
                warn(address, reason::STRICT_ARP_NEEDED, &text);
            }
            Fact::TwoClaims { address, rival, kept } => {
                let text = if kept {
                    format!("node {node} and another one answered for {address}, which node {node} has kept")
                } else {
                    format!("nodes {node} and {rival} answered for {address}: node {node} has given it up")
                };
                warn(address, reason::ADDRESS_CONTESTED, &text);
            }
            Fact::NoSuccessor { address } => {
                let text = format!("{address} should leave node {node}, and no other node can take it: it stays");
                warn(address, reason::NO_SUCCESSOR, &text);
            }
            Fact::ExclusionIgnored { address } => {
                let text = format!(
                    "every node that can answer for {address} is excluded from load balancers by label: the label is ignored there"
                );
                warn(address, reason::EXCLUSION_IGNORED, &text);
            }
            Fact::MoveFailed { address, to } => {
                tracing::warn!(op = "move", ip = %address, %to, "the successor did not claim the address: taken back");
            }
            fact => self.heed_rare(fact),
        }
    }

    /// What concerns no single address.
    fn heed_rare(&self, fact: Fact) {
        let name = |link: ownership::LinkId| self.observed.name_of(link.0);
        match fact {
            Fact::ProxyArp { link, mac } => {
                let interface = name(link);
                let text = format!(
                    "{mac} on interface {interface} answers ARP for free addresses (proxy ARP): its answers are not counted"
                );
                tracing::warn!(op = "ownership", event = reason::PROXY_ARP, interface, %mac, "{text}");
                self.tell_node(reason::PROXY_ARP, &text);
            }
            Fact::Deaf { link } => {
                let interface = name(link);
                let text = format!(
                    "nobody answers on interface {interface}, neither nodes nor gateway: nothing is claimed there"
                );
                tracing::warn!(op = "ownership", event = reason::LINK_DEAF, interface, "{text}");
                self.tell_node(reason::LINK_DEAF, &text);
            }
            Fact::GossipSilent => {
                let port = self.settings.gossip_port;
                let text = format!(
                    "no other agent answers on UDP port {port} (a firewall?): Leases tell which nodes live, and failover takes seconds"
                );
                tracing::warn!(op = "gossip", event = reason::GOSSIP_SILENT, "{text}");
                self.tell_node(reason::GOSSIP_SILENT, &text);
            }
            Fact::Refused(Refusal::WrongKey) => {
                let text = "an agent uses another gossip key than this one and is not heard: is the Secret purelb-gossip the same for all?";
                tracing::debug!(op = "gossip", event = reason::GOSSIP_KEY_MISMATCH, "{text}");
                self.tell_node(reason::GOSSIP_KEY_MISMATCH, text);
            }
            Fact::Alarm { node, link, own } => {
                tracing::warn!(op = "alarm", %node, interface = name(link), own, "node silent in every way");
            }
            Fact::AgentSilent { node } => {
                tracing::warn!(op = "members", %node, "its agent is silent, its kernel answers: its addresses stay there");
            }
            Fact::Paused(gap) => {
                let millis = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(op = "pause", millis, "this agent did not run for a while");
            }
            Fact::Member { node, vital } => tracing::debug!(op = "members", %node, ?vital, "member"),
            other => tracing::debug!(op = "ownership", fact = ?other, "fact"),
        }
    }

    /// An event of this node.
    fn tell_node(&self, reason: &'static str, note: &str) {
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.settings.node.clone()),
            uid: self.world.node.as_ref().map(|node| node.uid.clone()),
            ..ObjectReference::default()
        };
        self.outside.events.publish(Event {
            object,
            kind: Urgency::Warning,
            reason,
            note: format!("node {}: {note}", self.settings.node),
        });
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
    use ownership::{LinkId, Want};

    use super::*;
    use crate::desired::Kind;
    use crate::observed::testing::key;

    fn wanted(rebalance: u64, requests: &[u64]) -> Wanted {
        let key = key(2, "192.0.2.1/24");
        let want = Want {
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
