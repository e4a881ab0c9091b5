//! Kubernetes events about Services, this node and LBNodeAgents.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::ObjectReference;
use runtime::events::{Event, EventQueue, Kind as Severity};

use crate::cluster::configuration::Notice;
use crate::cluster::service::{ServiceName, ServiceView};
use crate::cluster::services::Services;
use crate::cluster::store::Store;
use crate::report::metrics::Metrics;

/// Reports what happens on this node as Kubernetes events, logs and metrics.
pub struct Reporter {
    /// The name of this node.
    pub(super) node: String,
    /// The UDP port of the gossip.
    pub(super) gossip_port: u16,
    pub(super) metrics: Metrics,
    events: EventQueue,
    /// The Services of a local address with the traffic policy `Local` to which its effect was reported.
    pub(super) policy_reported: BTreeMap<IpAddr, BTreeSet<ServiceName>>,
}

impl Reporter {
    /// Without anything reported yet.
    #[must_use]
    pub const fn new(node: String, gossip_port: u16, metrics: Metrics, events: EventQueue) -> Self {
        Self { node, gossip_port, metrics, events, policy_reported: BTreeMap::new() }
    }

    /// A Kubernetes event of each Service that has the address.
    pub fn services(&self, services: &Services, ip: IpAddr, severity: Severity, reason: &'static str, note: &str) {
        for service in services.told_of(ip) {
            self.service(service, severity, reason, note.to_owned());
        }
    }

    /// A Kubernetes event of a Service.
    pub fn service(&self, service: &ServiceView, kind: Severity, reason: &'static str, note: String) {
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(service.name.namespace.to_string()),
            name: Some(service.name.name.to_string()),
            uid: Some(service.uid.to_string()),
            ..ObjectReference::default()
        };
        self.events.publish(Event { object, kind, reason, note });
    }

    /// A Kubernetes event of this node.
    pub fn node(&self, cluster: &Store, reason: &'static str, note: &str) {
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.node.clone()),
            uid: cluster.node.as_ref().map(|node| node.uid.clone()),
            ..ObjectReference::default()
        };
        let note = format!("node {}: {note}", self.node);
        self.events.publish(Event { object, kind: Severity::Warning, reason, note });
    }

    /// A Kubernetes event of an LBNodeAgent.
    pub fn configuration(&self, notice: &Notice) {
        let (namespace, name) = &notice.agent;
        tracing::warn!(op = "setConfig", agent = name, reason = notice.reason, "{}", notice.text);
        let object = ObjectReference {
            api_version: Some("purelb.io/v2".to_owned()),
            kind: Some("LBNodeAgent".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            ..ObjectReference::default()
        };
        let note = notice.text.clone();
        self.events.publish(Event { object, kind: Severity::Warning, reason: notice.reason, note });
    }
}
