//! Answers for `/state`.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::Agent;
use crate::local::thread::ProtocolThread;
use crate::report::state::{AddressEntry, NodeState, StateRequest};

/// How long the protocol may take to say what it knows.
const PROTOCOL: Duration = Duration::from_secs(2);

impl Agent {
    /// Answers a query. The agent does not wait for what the protocol knows.
    pub(super) fn answer_query(&self, answer: StateRequest) {
        let mut state = self.own_state();
        let protocol = self.local.thread.as_ref().map(ProtocolThread::state);
        tokio::spawn(async move {
            if let Some(protocol) = protocol
                && let Ok(Ok(protocol)) = timeout(PROTOCOL, protocol).await
            {
                state.complete(protocol);
            }
            let _gone = answer.send(state);
        });
    }

    fn own_state(&self) -> NodeState {
        let observed = self.host.observed();
        let addresses = self.status.iter().map(|(ip, status)| {
            let services = self.cluster.services.of(*ip).map(|service| service.name.to_string()).collect();
            AddressEntry::new(*ip, status, services, observed)
        });
        let bfd = self.outside.bfd.shown();
        NodeState {
            node: self.settings.node.clone(),
            time: Timestamp::now(),
            config: self.mode.state(),
            missing: self.cluster.missing(),
            dummy_interface: self.mode.config().map(|config| config.dummy_interface.clone()),
            subnets: self.selection.subnets().iter().map(ToString::to_string).collect(),
            members: Vec::new(),
            gossip_silent: self.local.silent,
            current: self.cluster.watches_current(),
            addresses: addresses.collect(),
            bfd: bfd.peers,
            calico_exports: bfd.exports,
            guard: self.guard.entry(),
        }
    }
}
