//! What the protocol for local addresses is sent: interfaces, settings, members, keys and candidacies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::ConflictDetection;
use ownership::{ConflictPolicy, FailureDetection, NodeId, Qualified};
use runtime::BootTime;

use super::Agent;
use crate::decide::decision::Participation;
use crate::decide::interfaces::remote_links;
use crate::local::interfaces::LocalInterfaces;
use crate::local::messages::{Command, ProtocolSettings, Start};

impl Agent {
    /// Sends what changed in interfaces and settings; starts the thread in the first complete pass.
    ///
    /// An interface that is not selected any more counts until the addresses are decided about
    /// ([`Self::narrow_interfaces`]). An address that moves to another interface of this node, such as a bridge that
    /// takes the first one over, is then added there before it is removed here.
    pub(super) fn update_protocol(&mut self) {
        let now = BootTime::now();
        let interfaces = self.local_interfaces(now);
        let settings = self.protocol_settings();
        if self.local.is_running() {
            self.local.send_interfaces(interfaces.joined(&self.local.interfaces));
            self.local.send_settings(settings);
        } else {
            self.local.interfaces = interfaces;
            self.local.settings = settings;
            self.start_protocol(now);
        }
    }

    /// Sends the interfaces without those that are not selected any more.
    pub(super) fn narrow_interfaces(&mut self) {
        let interfaces = self.local_interfaces(BootTime::now());
        self.local.send_interfaces(interfaces);
    }

    /// Sends what changed in members and keys.
    pub(super) fn send_members(&mut self) {
        let keys = self.cluster.keys_changed().then(|| self.cluster.keys.clone()).flatten();
        if let Some(keys) = keys {
            tracing::info!(op = "gossipKey", "the gossip's key changed");
            self.local.send(Command::Keys(Box::new(keys)));
        }
        if self.cluster.members_changed() {
            self.local.send(Command::Members(self.cluster.members.peers(BootTime::now())));
        }
    }

    /// Says once that every candidacy that follows from the first lists was sent. Where endpoints count, theirs is one
    /// of these lists: an address must not be given up only because its endpoints are not known yet.
    pub(super) fn send_completeness(&mut self) {
        if !self.cluster.services.need_endpoints() || self.cluster.endpoints.is_complete() {
            self.local.send_completeness();
        }
    }

    /// Decides about everything again if the node's exclusion has changed.
    pub(super) fn note_exclusion(&mut self, now: BootTime) {
        if self.local.exclusion_changed(now) {
            self.cluster.mark_all();
        }
    }

    /// Gives up what could not be handed over in time.
    pub(super) fn end_handing_over(&mut self, now: BootTime) {
        let left = !self.local.candidacies.is_empty() || self.local.interfaces.selection != self.selection;
        if left && self.local.has_handed_over(now) {
            self.interfaces_changed = true;
            self.cluster.mark_all();
        }
    }

    /// Sends whether this node is a candidate for an address.
    pub(super) fn send_participation(&mut self, ip: IpAddr, participation: Participation) {
        match participation {
            Participation::Unchanged => {}
            Participation::Yes(candidacy) => {
                self.count_fallback(ip, &candidacy.want.qualified);
                self.local.send_candidacy(ip, candidacy);
            }
            Participation::No => self.local.end_candidacy(ip, BootTime::now()),
        }
    }

    fn start_protocol(&mut self, now: BootTime) {
        let Some(keys) = self.cluster.keys.clone() else { return };
        // The thread starts with these keys, so they are not sent again.
        let _known = self.cluster.keys_changed();
        let Some(node) = NodeId::new(&self.settings.node) else {
            self.local.set_failed();
            return tracing::error!(op = "ownership", "the node's name is empty or too long");
        };
        let start = Start {
            node,
            keys,
            port: self.settings.gossip_port,
            probe_interval: self.settings.probe_interval,
            frames_per_second: self.settings.frames_per_second,
            run_dir: self.settings.run_dir.clone(),
            stop_grace: self.settings.stop_grace,
            recorded: self.record.keys().clone(),
            interfaces: self.local.interfaces.clone(),
            settings: self.local.settings.clone(),
        };
        self.local.start(start, self.outside.metrics.clone(), now);
    }

    fn local_interfaces(&mut self, now: BootTime) -> LocalInterfaces {
        self.local.dummies.extend(self.dummy.index());
        let mut links = remote_links(self.host.observed(), self.dummy.index(), &self.selection);
        links.extend(self.local.dummies.iter().filter(|index| !self.selection.has(**index)));
        // Without a configuration there are no interfaces either, but what is here is to be handed over first.
        let handing_over = self.mode.config().is_none() && self.local.is_handing_over(now);
        let selection = if handing_over { &self.local.interfaces.selection } else { &self.selection }.clone();
        let mut gateways: BTreeMap<u32, BTreeSet<IpAddr>> = BTreeMap::new();
        for route in &self.host.observed().routes {
            gateways.entry(route.index).or_default().extend(route.gateway);
        }
        gateways.retain(|index, _| selection.has(*index));
        LocalInterfaces { selection, remote_links: links, gateways }
    }

    fn protocol_settings(&self) -> ProtocolSettings {
        let config = self.mode.config();
        let policy = config.map_or(ConflictPolicy::default(), |config| match config.conflict_detection {
            ConflictDetection::Enforce => ConflictPolicy::Enforce,
            ConflictDetection::Warn => ConflictPolicy::Warn,
            ConflictDetection::Disabled => ConflictPolicy::Off,
        });
        let failure_detection = config.map_or(FailureDetection::default(), |config| match config.failure_detection {
            api_types::FailureDetection::Fast => FailureDetection::Fast,
            api_types::FailureDetection::Normal => FailureDetection::Normal,
            api_types::FailureDetection::Relaxed => FailureDetection::Relaxed,
        });
        ProtocolSettings {
            policy,
            failure_detection,
            announcements: config.map_or_else(Vec::new, |config| config.announcements.schedule.clone()),
            selected: config.is_some(),
            excluded: self.cluster.node.as_ref().is_some_and(|node| node.excluded),
            current: self.cluster.watches_current(),
        }
    }

    /// Counts that there are preferred nodes and none of them can answer.
    fn count_fallback(&self, ip: IpAddr, qualified: &Qualified) {
        let Qualified::Preferred(nodes) = qualified else { return };
        let live =
            |node: &NodeId| node.as_str() == self.settings.node || self.local.live().any(|member| member.node == *node);
        if !nodes.is_empty() && !nodes.iter().any(live) {
            self.outside.metrics.affinity_fallback.with_label_values(&[&ip.to_string()]).inc();
        }
    }
}
