//! Under which circumstances the protocol works: interfaces, configuration, labels, members and keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api_types::ConflictDetection;
use ownership::machine::MemberStatus;
use ownership::wire::{EXCLUDED, SELECTED};
use ownership::{ConflictPolicy, Liveness, NodeId};
use runtime::BootTime;
use tokio::sync::mpsc;

use super::Agent;
use super::local::HAND_OVER;
use crate::desired::Exclusion;
use crate::interfaces::remote_links;
use crate::local::{Command, Local, Rules, Scope, Start};

/// How long after the start others may take to say whether they are excluded too.
const EXCLUSION: Duration = Duration::from_secs(2);

impl Agent {
    /// Tells the thread what changed in interfaces and configuration; starts it in the first complete pass.
    ///
    /// An interface that counts no more still does until the addresses are decided about ([`Self::narrow_scope`]): what
    /// goes from it to another one of this node, such as a bridge that takes it over, is there before it goes here.
    pub(super) fn tell_circumstances(&mut self) {
        let now = BootTime::now();
        let scope = self.scope(now);
        let rules = self.rules();
        if self.side.is_running() {
            self.tell_scope(scope.joined(&self.side.scope));
            if rules != self.side.rules {
                self.side.rules = rules.clone();
                self.side.tell(Command::Rules(rules));
            }
        } else {
            self.side.scope = scope;
            self.side.rules = rules;
            self.start_thread(now);
        }
    }

    /// Tells the thread which interfaces count no more.
    pub(super) fn narrow_scope(&mut self) {
        let scope = self.scope(BootTime::now());
        self.tell_scope(scope);
    }

    fn tell_scope(&mut self, scope: Scope) {
        if scope != self.side.scope {
            self.side.scope = scope.clone();
            self.side.tell(Command::Scope(Box::new(scope)));
        }
    }

    /// Tells the thread what changed in members and keys.
    pub(super) fn tell_members(&mut self) {
        let keys = self.world.keys_changed().then(|| self.world.keys.clone()).flatten();
        if let Some(keys) = keys {
            tracing::info!(op = "gossipKey", "the gossip's key changed");
            self.side.tell(Command::Keys(Box::new(keys)));
        }
        if self.world.members_changed() {
            self.side.tell(Command::Members(self.world.members.peers(BootTime::now())));
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
        // It begins with these; they are no news to it.
        let _known = self.world.keys_changed();
        let Some(node) = NodeId::new(&self.settings.node) else {
            self.side.failed = true;
            return tracing::error!(op = "ownership", "the node's name is empty or too long");
        };
        let start = Start {
            node,
            keys,
            port: self.settings.gossip_port,
            probe_interval: self.settings.probe_interval,
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
        let left = !self.side.wanted.is_empty() || self.side.scope.selection != self.selection;
        if let Some(since) = self.side.unselected
            && now.since(since) >= HAND_OVER
            && left
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
        let here = |member: &MemberStatus| member.liveness == Liveness::Alive || self.side.silent && member.lease_alive;
        let able: Vec<&MemberStatus> =
            self.side.members.iter().flatten().filter(|m| here(m) && m.flags & SELECTED != 0).collect();
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
}
