//! What the task for BFD needs of the agent.

use super::Agent;
use crate::bfd::exports::Routed;
use crate::bfd::settings::Settings;
use crate::cluster::configuration::Mode;

impl Agent {
    /// Hands over this node and its configuration. Routers follow a node that announces nothing, too: its BGP session
    /// has more than our addresses.
    pub(super) fn update_bfd(&self) {
        let Some(node) = &self.cluster.node else { return };
        let config = match &self.mode {
            Mode::Default(config) | Mode::Configured(_, config) => Some(config.bfd.clone()),
            Mode::Deselected | Mode::Gone => Some(api_types::BfdConfig::default()),
            Mode::Invalid(_) => None,
        };
        let routed = self.cluster.groups.routed().into_iter().map(|(route, subnet)| Routed { route, subnet });
        self.outside.bfd.set(Settings {
            config,
            uid: node.uid.clone(),
            labels: node.labels.clone(),
            calico: node.calico.clone(),
            routed: routed.collect(),
            shutting_down: node.shutting_down,
        });
    }
}
