//! What changed, for people and machines: logs, events, metrics, `/state`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use api_types::names::reason;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use ownership::NodeId;
use runtime::BootTime;
use runtime::events::{Event, Kind as Urgency};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Agent;
use crate::cluster::service::{ServiceName, ServiceView};
use crate::decide::reason::Reason;
use crate::local::thread::ProtocolThread;
use crate::model::operation::{Failure, Purpose};
use crate::model::placement::{Kind, Placement};
use crate::report::state;

/// How long the protocol may take to say what it knows.
const PICTURE: Duration = Duration::from_secs(2);

/// What became of an address in the kernel.
pub(super) struct Outcome {
    /// Where it was.
    pub before: Option<Placement>,
    /// Somebody else had taken it out.
    pub repaired: bool,
    /// By which operation it is there; nothing if it was.
    pub done: Option<Purpose>,
    /// Who answered for it before.
    pub from: Option<NodeId>,
}

impl Agent {
    /// A new decision about an address; where it is placed is reported when the kernel has it.
    pub(super) fn report_decision(&self, ip: IpAddr, before: Option<&Reason>) {
        let Some(status) = self.status.get(&ip) else { return };
        let decision = &status.decision;
        let metrics = &self.outside.metrics;
        match &decision.reason {
            Reason::Owner => {
                if before != Some(&Reason::Owner) {
                    metrics.wins.inc();
                }
            }
            Reason::NotOwner => {
                // Nobody loses what was never his.
                if before == Some(&Reason::Owner) {
                    metrics.losses.inc();
                    tracing::info!(op = "announce", event = "lostElection", ip = %ip, "{}", decision.reason);
                }
            }
            Reason::Remote | Reason::NotWanted | Reason::Undecided => {}
            Reason::Refused(text) => {
                tracing::warn!(op = "announce", event = "refused", ip = %ip, "{text}");
                self.tell_users(
                    ip,
                    Urgency::Warning,
                    reason::ANNOUNCEMENT_FAILED,
                    &format!("node {}: {text}", self.settings.node),
                );
            }
            other => tracing::info!(op = "announce", event = other.word(), ip = %ip, "{other}"),
        }
    }

    /// An address that could not be put or deleted.
    pub(super) fn report_failure(&mut self, failure: Failure) {
        let Failure { key, deleting, errno } = failure;
        let (ip, interface, node) = (key.ip, self.observed.name_of(key.index).to_owned(), &self.settings.node);
        let text = if deleting {
            format!("node {node} cannot take {ip} off interface {interface}: {errno}")
        } else {
            format!("node {node} cannot announce {ip} on interface {interface}: {errno}")
        };
        tracing::warn!(op = "announce", event = "announcementFailed", ip = %ip, interface, error = %errno, "{text}");
        self.tell_users(ip, Urgency::Warning, reason::ANNOUNCEMENT_FAILED, &text);
        if let Some(status) = self.status.get_mut(&ip) {
            status.failure = Some(failure);
        }
    }

    /// What the kernel has of an address after a write.
    pub(super) fn report_outcome(&mut self, ip: IpAddr, outcome: Outcome) {
        let Outcome { before, repaired, done, from } = outcome;
        let Some(status) = self.status.get(&ip) else { return };
        let (after, why) = (status.placed, status.decision.reason.clone());
        match (before, after) {
            (Some(before), Some(after)) if before.key == after.key => {
                if repaired && before.attributes.no_prefix_route == after.attributes.no_prefix_route {
                    self.report_repair(ip, &after);
                }
            }
            (_, Some(after)) => self.report_announced(ip, &after, done, from.as_ref()),
            (Some(before), None) => {
                let interface = self.observed.name_of(before.key.index);
                tracing::info!(op = "withdraw", event = "withdrawAddress", ip = %ip, interface, reason = why.word(), "{why}");
            }
            (None, None) => {}
        }
        self.update_users(ip, after.is_some());
        self.report_policy(ip, before.is_none() && done != Some(Purpose::Add));
        self.note_slots(ip);
    }

    /// Says of a local address, once to each Service, that its traffic policy `Local` is kept (specification, api.md 6,
    /// where every node says so at every look). What an earlier run had said is not said again (`adopted`).
    fn report_policy(&mut self, ip: IpAddr, adopted: bool) {
        let placed = self.status.get(&ip).and_then(|status| status.placed);
        let local = placed.is_some_and(|placed| placed.kind == Kind::Local);
        let users = || self.cluster.services.of(ip).filter(|service| local && service.traffic_local);
        let now: BTreeSet<ServiceName> = users().map(|user| user.name.clone()).collect();
        let told =
            if now.is_empty() { self.local.policy_told.remove(&ip) } else { self.local.policy_told.insert(ip, now) };
        let told = told.unwrap_or_default();
        for service in users().filter(|service| !adopted && !told.contains(&service.name)) {
            let note = format!(
                "externalTrafficPolicy is Local and stays so: a node with an endpoint of the Service is to answer for {ip}, if there is one; node {} does now",
                self.settings.node
            );
            let (object, kind) = (reference(service), Urgency::Normal);
            self.outside.events.publish(Event { object, kind, reason: reason::LOCAL_OVERRIDE, note });
        }
    }

    fn report_announced(&self, ip: IpAddr, placement: &Placement, done: Option<Purpose>, from: Option<&NodeId>) {
        let interface = self.observed.name_of(placement.key.index).to_owned();
        let node = &self.settings.node;
        let (word, event) = match placement.kind {
            Kind::Local => ("electionWon", reason::ANNOUNCING_LOCAL),
            Kind::Remote => ("announcingNonLocal", reason::ANNOUNCING_NON_LOCAL),
        };
        let adopted = done != Some(Purpose::Add);
        tracing::info!(op = "announce", event = word, ip = %ip, interface, prefix = placement.key.prefix_len, adopted, "announcing");
        if !adopted {
            let from = from.map(|from| format!(", taken over from node {from}")).unwrap_or_default();
            let text = format!("node {node} announces {ip} on interface {interface}{from}");
            self.tell_users(ip, Urgency::Normal, event, &text);
        }
    }

    fn report_repair(&mut self, ip: IpAddr, placement: &Placement) {
        let interface = self.observed.name_of(placement.key.index).to_owned();
        let text = format!(
            "node {} found {ip} missing or changed on interface {interface} and has put it right",
            self.settings.node
        );
        tracing::warn!(op = "repair", event = "addressRepaired", ip = %ip, interface, "{text}");
        self.outside.metrics.repairs.inc();
        self.repair_limit.repaired(ip, BootTime::now());
        self.tell_users(ip, Urgency::Warning, reason::ADDRESS_REPAIRED, &text);
    }

    /// Keeps the series of announced addresses in step with the Services that use them.
    fn update_users(&self, ip: IpAddr, announced: bool) {
        let users = self.cluster.services.of(ip).filter(|_| announced).map(|service| service.name.clone());
        self.outside.metrics.announced.set(ip, users.collect());
    }

    pub(super) fn tell_users(&self, ip: IpAddr, kind: Urgency, reason: &'static str, note: &str) {
        for service in self.cluster.services.of(ip) {
            self.outside.events.publish(Event { object: reference(service), kind, reason, note: note.to_owned() });
        }
    }

    /// Answers `/state`. What the protocol knows is asked for meanwhile, and the agent goes on.
    pub(super) fn report_state(&self, answer: oneshot::Sender<state::NodeState>) {
        let mut report = self.own_state();
        let picture = self.local.thread().map(ProtocolThread::state);
        tokio::spawn(async move {
            if let Some(picture) = picture
                && let Ok(Ok(picture)) = timeout(PICTURE, picture).await
            {
                report.complete(picture);
            }
            let _gone = answer.send(report);
        });
    }

    fn own_state(&self) -> state::NodeState {
        let addresses = self.status.iter().map(|(ip, status)| {
            let placement = status.placed.or(status.decision.placement);
            state::AddressEntry {
                ip: *ip,
                services: self.cluster.services.of(*ip).map(|service| service.name.to_string()).collect(),
                announced: status.placed.is_some(),
                kind: placement.map(|placement| placement.kind),
                interface: placement.map(|placement| self.observed.name_of(placement.key.index).to_owned()),
                prefix_length: placement.map(|placement| placement.key.prefix_len),
                reason: status.decision.reason.word(),
                why: status.decision.reason.to_string(),
                error: status.failure.map(|failure| failure.errno.to_string()),
                since: status.since,
                ownership: None,
            }
        });
        let addresses = addresses.collect();
        state::NodeState {
            node: self.settings.node.clone(),
            time: Timestamp::now(),
            config: self.mode.state(),
            missing: self.cluster.missing(),
            dummy_interface: self.mode.config().map(|config| config.dummy_interface.clone()),
            subnets: self.selection.subnets().iter().map(ToString::to_string).collect(),
            members: Vec::new(),
            gossip_silent: self.local.silent,
            current: self.cluster.watches_current(),
            addresses,
        }
    }
}

fn reference(service: &ServiceView) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        namespace: Some(service.name.namespace.to_string()),
        name: Some(service.name.name.to_string()),
        uid: Some(service.uid.to_string()),
        ..ObjectReference::default()
    }
}
