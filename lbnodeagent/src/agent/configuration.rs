//! Configuration, interfaces and subnets.

use std::collections::BTreeSet;

use runtime::BootTime;

use super::Agent;
use crate::cluster::configuration::{Mode, Notice};
use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::report::lease::content::Content;

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
            self.interfaces_changed = true;
            self.cluster.mark_all();
        }
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
        let selection = self
            .mode
            .config()
            .map_or_else(Selection::default, |config| Selection::new(config, observed, ours, &self.selection));
        let connected = Connected::new(observed, ours);
        if before != self.dummy.index() || selection != self.selection || connected != self.connected {
            self.cluster.mark_all();
        }
        (self.selection, self.connected) = (selection, connected);
        self.publish_subnets();
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
        if self.cluster.members.set_own_subnets(subnets.clone(), BootTime::now()) {
            let text = api_types::lease::subnets_value(&subnets);
            tracing::info!(op = "subnets", event = "subnetsChanged", subnets = text, "this node's subnets changed");
            self.cluster.mark_all();
        }
        let Some(node) = &self.cluster.node else { return };
        let (port, silent) = (self.settings.gossip_port, self.local.silent);
        let content = Content::new(node, &self.selection, self.host.observed(), self.ours(), port, silent);
        self.outside.lease.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&content);
            *current = Some(content);
            changed
        });
    }
}
