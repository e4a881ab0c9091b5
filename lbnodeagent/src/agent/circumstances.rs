//! Under which circumstances the protocol works: interfaces, configuration, labels, members and keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api_types::ConflictDetection;
use ownership::machine::MemberState;
use ownership::wire::{EXCLUDED, SELECTED};
use ownership::{ConflictPolicy, NodeId, Vital};
use runtime::BootTime;
use tokio::sync::mpsc;

use super::Agent;
use super::local::HAND_OVER;
use crate::decide::decision::Exclusion;
use crate::decide::interfaces::remote_links;
use crate::local::interfaces::LocalInterfaces;
use crate::local::messages::{Command, ProtocolSettings, Start};
use crate::local::thread::ProtocolThread;

/// How long after the start others may take to say whether they are excluded too.
const EXCLUSION: Duration = Duration::from_secs(2);

impl Agent {
    /// Tells the thread what changed in interfaces and configuration; starts it in the first complete pass.
    ///
    /// An interface that counts no more still does until the addresses are decided about ([`Self::narrow_interfaces`]): what
    /// goes from it to another one of this node, such as a bridge that takes it over, is there before it goes here.
    pub(super) fn tell_circumstances(&mut self) {
        let now = BootTime::now();
        let interfaces = self.interfaces(now);
        let settings = self.protocol_settings();
        if self.local.is_running() {
            self.send_interfaces(interfaces.joined(&self.local.interfaces));
            if settings != self.local.settings {
                self.local.settings = settings.clone();
                self.local.tell(Command::ProtocolSettings(settings));
            }
        } else {
            self.local.interfaces = interfaces;
            self.local.settings = settings;
            self.start_thread(now);
        }
    }

    /// Tells the thread which interfaces count no more.
    pub(super) fn narrow_interfaces(&mut self) {
        let interfaces = self.interfaces(BootTime::now());
        self.send_interfaces(interfaces);
    }

    fn send_interfaces(&mut self, interfaces: LocalInterfaces) {
        if interfaces != self.local.interfaces {
            self.local.interfaces = interfaces.clone();
            self.local.tell(Command::LocalInterfaces(Box::new(interfaces)));
        }
    }

    /// Tells the thread what changed in members and keys.
    pub(super) fn tell_members(&mut self) {
        let keys = self.cluster.keys_changed().then(|| self.cluster.keys.clone()).flatten();
        if let Some(keys) = keys {
            tracing::info!(op = "gossipKey", "the gossip's key changed");
            self.local.tell(Command::Keys(Box::new(keys)));
        }
        if self.cluster.members_changed() {
            self.local.tell(Command::Members(self.cluster.members.peers(BootTime::now())));
        }
    }

    /// Says once that every wanted address of the first lists was told. Where the endpoints count, theirs is one of
    /// them: an address that is only not wanted because they are not known yet must not be given up.
    pub(super) fn tell_completeness(&mut self) {
        let known = !self.cluster.services.need_endpoints() || self.cluster.endpoints.is_complete();
        if known && !self.local.complete && self.local.is_running() {
            self.local.complete = true;
            self.local.tell(Command::CandidatesComplete);
        }
    }

    /// What is known of the node's exclusion may change with time alone.
    pub(super) fn note_exclusion(&mut self, now: BootTime) {
        let exclusion = Some(self.exclusion(now));
        if exclusion != self.local.exclusion {
            self.local.exclusion = exclusion;
            self.cluster.mark_all();
        }
    }

    fn start_thread(&mut self, now: BootTime) {
        let Some(keys) = self.cluster.keys.clone() else { return };
        // It begins with these; they are no news to it.
        let _known = self.cluster.keys_changed();
        let Some(node) = NodeId::new(&self.settings.node) else {
            self.local.failed = true;
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
            interfaces: self.local.interfaces.clone(),
            settings: self.local.settings.clone(),
        };
        let (updates, received) = mpsc::unbounded_channel();
        match ProtocolThread::start(start, self.outside.metrics.clone(), updates) {
            Ok(thread) => {
                self.local.thread = Some(thread);
                self.local.updates = Some(received);
                self.local.started = Some(now);
            }
            Err(error) => {
                self.local.failed = true;
                tracing::error!(op = "ownership", %error, "cannot start the thread for local addresses");
            }
        }
    }

    fn interfaces(&mut self, now: BootTime) -> LocalInterfaces {
        self.local.dummies.extend(self.dummy);
        let mut links = remote_links(&self.observed, self.dummy, &self.selection);
        links.extend(self.local.dummies.iter().filter(|index| !self.selection.has(**index)));
        // Without a configuration there are no interfaces either, but what is here is to be handed over first.
        let selection = match (self.mode.config(), self.local.unselected) {
            (None, Some(since)) if now.since(since) < HAND_OVER => self.local.interfaces.selection.clone(),
            _ => self.selection.clone(),
        };
        let mut gateways: BTreeMap<u32, BTreeSet<IpAddr>> = BTreeMap::new();
        for route in &self.observed.routes {
            gateways.entry(route.index).or_default().extend(route.gateway);
        }
        gateways.retain(|index, _| selection.has(*index));
        LocalInterfaces { selection, remote_links: links, node_addresses: self.node_addresses().clone(), gateways }
    }

    fn protocol_settings(&self) -> ProtocolSettings {
        let config = self.mode.config();
        let policy = config.map_or(ConflictPolicy::default(), |config| match config.conflict_detection {
            ConflictDetection::Enforce => ConflictPolicy::Enforce,
            ConflictDetection::Warn => ConflictPolicy::Warn,
            ConflictDetection::Off => ConflictPolicy::Off,
        });
        ProtocolSettings {
            policy,
            announcements: config.map_or_else(Vec::new, |config| config.announcements.schedule.clone()),
            selected: config.is_some(),
            excluded: self.cluster.node.as_ref().is_some_and(|node| node.excluded),
            current: self.cluster.watches_current(),
        }
    }

    /// The configuration has gone, or come.
    pub(super) fn note_selected(&mut self, now: BootTime) {
        self.local.unselected = self.mode.config().is_none().then(|| self.local.unselected.unwrap_or(now));
    }

    /// When what could not be handed over is given up.
    pub(super) fn hand_over_ends(&mut self, now: BootTime) {
        let left = !self.local.candidacies.is_empty() || self.local.interfaces.selection != self.selection;
        if let Some(since) = self.local.unselected
            && now.since(since) >= HAND_OVER
            && left
        {
            self.interfaces_changed = true;
            self.cluster.mark_all();
        }
    }

    /// Whether this node is excluded, now that it is known of the others.
    pub(super) fn exclusion(&self, now: BootTime) -> Exclusion {
        if !self.local.settings.excluded {
            return Exclusion::No;
        }
        // Without gossip the last that was said of them counts.
        let here = |member: &MemberState| member.vital == Vital::Alive || self.local.silent && member.lease_alive;
        let able: Vec<&MemberState> =
            self.local.members.iter().flatten().filter(|m| here(m) && m.flags & SELECTED != 0).collect();
        if able.iter().any(|member| member.heard && member.flags & EXCLUDED == 0) {
            Exclusion::Yes
        } else if able.iter().any(|member| !member.heard)
            || self.local.started.is_none_or(|started| now.since(started) < EXCLUSION)
        {
            Exclusion::Unknown
        } else {
            Exclusion::No
        }
    }
}
