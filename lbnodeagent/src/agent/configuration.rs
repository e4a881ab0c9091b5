//! Configuration, interfaces and subnets.

use std::collections::BTreeSet;

use api_types::AddressAttributes;
use api_types::lease::Inactive;
use api_types::names::reason;
use runtime::BootTime;

use super::Agent;
use crate::cluster::configuration::{Mode, Notice};
use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::decide::unusable::{Twin, twins, unusable};
use crate::kernel::sysctl;
use crate::plan::adoption::Adoption;
use crate::report::lease::content::Content;
use crate::report::lease::own::{OwnLists, gateways};
use crate::report::lease::schedule::every;

impl Agent {
    /// Chooses the configuration anew.
    pub(super) fn refresh_configuration(&mut self) {
        let (mode, notices) = self.cluster.configuration();
        let notices: BTreeSet<Notice> = notices.into_iter().collect();
        for notice in notices.difference(&self.notices) {
            self.reporter.configuration(notice);
        }
        self.notices = notices;
        self.outside.metrics.set_mode(&mode);
        if mode != self.mode || !self.first_pass_done {
            self.log_mode(&mode);
            self.local.note_selected(mode.config().is_some(), BootTime::now());
            self.mode = mode;
            self.note_proxy_failure();
            self.interfaces_changed = true;
            self.cluster.mark_all();
        }
    }

    /// Takes over what an earlier run left in the kernel, once the Services are known.
    pub(super) fn adopt(&mut self) {
        let (config, observed) = (self.mode.config(), self.host.observed());
        let ours = Adoption {
            kernel_marks: self.marks_addresses,
            recorded: self.record.keys(),
            observed,
            services: &self.cluster.services,
            node: &self.settings.node,
            dummy: config.and_then(|config| observed.index_of(&config.dummy_interface)),
            local: config.map_or(AddressAttributes::LOCAL, |config| config.local),
            grace: u32::try_from(self.settings.stop_grace.as_secs()).unwrap_or(u32::MAX - 1),
        }
        .ours();
        self.record.replace(ours);
    }

    fn log_mode(&self, mode: &Mode) {
        let state = mode.state();
        let Some(config) = mode.config() else {
            tracing::warn!(
                op = "setConfig",
                event = "noConfig",
                node = self.settings.node,
                state,
                "announcing nothing"
            );
            return;
        };
        tracing::info!(op = "setConfig", state, dummyInterface = config.dummy_interface, "configured");
        if config.announcements.disabled {
            let text = "gratuitous ARP is switched off: clients find a moved address only when their caches expire";
            tracing::warn!(op = "setConfig", "{text}");
        }
    }

    /// Selects the interfaces anew, makes the dummy interface ready, and publishes the subnets.
    pub(super) async fn refresh_interfaces(&mut self) {
        self.interfaces_changed = false;
        let before = self.dummy.index();
        self.refresh_dummy().await;
        let (ours, observed) = (self.ours(), self.host.observed());
        let internal = self.cluster.node.as_ref().map_or(&[][..], |node| node.internal.as_slice());
        let defaults = self.selection.defaults();
        let selection = match self.mode.config() {
            Some(config) => Selection::new(config, observed, ours, internal, defaults),
            None => Selection::remembering(defaults.clone()),
        };
        let (connected, gateways) = (Connected::new(observed, ours), gateways(observed));
        if before != self.dummy.index()
            || selection != self.selection
            || connected != self.connected
            || gateways != self.gateways
        {
            self.cluster.mark_all();
        }
        (self.selection, self.connected, self.gateways) = (selection, connected, gateways);
        self.report_unusable();
        self.report_twins();
        self.publish_subnets();
    }

    /// Writes the status of LBNodeAgents, if this node is the first by name of those that live.
    pub(super) fn write_agent_statuses(&mut self) {
        let node = self.settings.node.as_str();
        let is_first = self.local.members.is_some() && self.local.live().all(|member| node < member.node.as_str());
        if self.first_pass_done && is_first && self.cluster.watches_current() {
            self.config_status.write_due(&self.cluster.agent_objects, &self.outside.metrics.writes);
        }
    }

    /// Reports interfaces of the configuration that cannot be used, on the Node and on the LBNodeAgent.
    fn report_unusable(&mut self) {
        let present = self.mode.config().map(|config| unusable(config, self.host.observed(), &self.selection));
        for text in self.problems.note_selection(present.unwrap_or_default()) {
            self.reporter.node(&self.cluster, reason::INTERFACE_UNUSABLE, &text);
            let agent = match &self.mode {
                Mode::Configured(name, _) => name.split_once('/'),
                _ => None,
            };
            if let Some((namespace, name)) = agent {
                let agent = (namespace.to_owned(), name.to_owned());
                let text = format!("node {}: {text}", self.settings.node);
                self.reporter.configuration(&Notice { agent, reason: reason::INTERFACE_UNUSABLE, text });
            }
        }
    }

    /// Reports other interfaces that answer for local addresses, on the Node.
    fn report_twins(&mut self) {
        let found = twins(self.host.observed(), &self.selection, &self.connected);
        let texts = found.iter().filter(|twin| sysctl::answers_for_others(&twin.other)).map(Twin::text);
        for text in self.problems.note_twins(texts.collect()) {
            self.reporter.node(&self.cluster, reason::CONFIGURATION_WARNING, &text);
        }
    }

    async fn refresh_dummy(&mut self) {
        let name = self.mode.config().map(|config| config.dummy_interface.as_str());
        let refreshed = self.dummy.refresh(&mut self.host, name).await;
        if let Some((reason, text)) = refreshed.notice {
            self.reporter.node(&self.cluster, reason, &text);
        }
        if refreshed.made_ready {
            self.listen().await;
        }
    }

    fn publish_subnets(&mut self) {
        let subnets = self.selection.subnets();
        let count = i64::try_from(subnets.len()).unwrap_or(i64::MAX);
        self.outside.metrics.local_subnets.set(count);
        if self.cluster.members.set_own_subnets(subnets.clone()) {
            let text = api_types::lease::subnets_value(&subnets);
            tracing::info!(op = "subnets", event = "subnetsChanged", subnets = text, "this node's subnets changed");
            self.cluster.mark_all();
        }
        if self.mode == Mode::Gone {
            // The Lease belongs to the Node and would be collected again and again.
            self.outside.lease.send_replace(None);
            return;
        }
        let Some(node) = &self.cluster.node else { return };
        let members = self.local.members.as_ref().map_or(0, Vec::len);
        let (port, every) = (self.settings.gossip_port, every(self.local.silent, members));
        let (observed, ours) = (self.host.observed(), self.ours());
        let dummies: BTreeSet<u32> = self.local.dummies.iter().copied().chain(self.dummy.index()).collect();
        let in_a_range = |ip| self.cluster.groups.find(ip).is_some();
        let own = OwnLists::new(observed, ours, &dummies, &node.pod_networks, in_a_range);
        let inactive = match self.mode {
            Mode::Default(_) | Mode::Configured(..) | Mode::Gone => None,
            Mode::Deselected => Some(Inactive::Deselected),
            Mode::Invalid(_) => Some(Inactive::Invalid),
        };
        let proxy = self.proxy_state();
        let content =
            Content { proxy, inactive, ..Content::new(node, &self.selection, observed, ours, own, port, every) };
        self.outside.lease.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&content);
            *current = Some(content);
            changed
        });
    }
}
