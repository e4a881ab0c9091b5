//! Decisions about addresses and what became of them, as logs, Kubernetes events and metrics.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::names::reason;
use ownership::NodeId;
use runtime::events::Kind as Severity;

use super::reporter::Reporter;
use super::status::Status;
use crate::cluster::service::ServiceName;
use crate::cluster::services::Services;
use crate::decide::reason::Reason;
use crate::model::observed::Observed;
use crate::model::operation::{Failure, Purpose};
use crate::model::placement::{Kind, Placement};

/// What became of an address in the kernel.
#[derive(Debug)]
pub struct Outcome {
    /// Where it was.
    pub before: Option<Placement>,
    /// Whether somebody else had removed or changed it.
    pub repaired: bool,
    /// The purpose of the operation that put it there; nothing if it was there already.
    pub purpose: Option<Purpose>,
    /// Its previous owner.
    pub from: Option<NodeId>,
}

impl Reporter {
    /// A new decision about an address. That it is announced is reported when the kernel has it.
    pub fn decision(&self, services: &Services, ip: IpAddr, reason: &Reason, before: Option<&Reason>) {
        match reason {
            Reason::Owner => {
                if before != Some(&Reason::Owner) {
                    self.metrics.wins.inc();
                }
            }
            Reason::NotOwner => {
                // Only the previous owner has lost the address.
                if before == Some(&Reason::Owner) {
                    self.metrics.losses.inc();
                    tracing::info!(op = "announce", event = "lostElection", ip = %ip, "{reason}");
                }
            }
            Reason::Remote | Reason::NotWanted | Reason::Undecided => {}
            Reason::RemoteInside(text) => {
                tracing::warn!(op = "announce", event = "insideNetwork", ip = %ip, "{text}");
                let text = format!("node {}: {text}", self.node);
                self.services(services, ip, Severity::Warning, reason::CONFIGURATION_WARNING, &text);
            }
            Reason::Refused(text) => {
                tracing::warn!(op = "announce", event = "refused", ip = %ip, "{text}");
                let text = format!("node {}: {text}", self.node);
                self.services(services, ip, Severity::Warning, reason::ANNOUNCEMENT_FAILED, &text);
            }
            other => tracing::info!(op = "announce", event = other.word(), ip = %ip, "{other}"),
        }
    }

    /// An address that the kernel refused to add or to delete.
    pub fn failure(&self, services: &Services, observed: &Observed, failure: &Failure) {
        let Failure { key, deleting, errno } = failure;
        let (ip, interface, node) = (key.ip, observed.name_of(key.index), &self.node);
        let text = if *deleting {
            format!("node {node} cannot remove {ip} from interface {interface}: {errno}")
        } else {
            format!("node {node} cannot announce {ip} on interface {interface}: {errno}")
        };
        tracing::warn!(op = "announce", event = "announcementFailed", ip = %ip, interface, error = %errno, "{text}");
        self.services(services, ip, Severity::Warning, reason::ANNOUNCEMENT_FAILED, &text);
    }

    /// What became of an address. Returns whether it was repaired.
    pub fn outcome(
        &mut self,
        services: &Services,
        observed: &Observed,
        ip: IpAddr,
        status: &Status,
        outcome: &Outcome,
    ) -> bool {
        let Outcome { before, repaired, purpose, from } = outcome;
        let mut reported_repair = false;
        match (before, &status.placed) {
            (Some(before), Some(after)) if before.key == after.key => {
                if *repaired && before.attributes.no_prefix_route == after.attributes.no_prefix_route {
                    self.repair(services, observed, ip, after);
                    reported_repair = true;
                }
            }
            (_, Some(after)) => self.announced(services, observed, after, *purpose, from.as_ref()),
            (Some(before), None) => {
                let (interface, reason) = (observed.name_of(before.key.index), &status.decision.reason);
                tracing::info!(op = "withdraw", event = "withdrawAddress", ip = %ip, interface, reason = reason.word(), "{reason}");
            }
            (None, None) => {}
        }
        // The series follow the Services that use the address.
        let users = services.told_of(ip).filter(|_| status.placed.is_some()).map(|service| service.name.clone());
        self.metrics.announced.set(ip, users.collect());
        self.traffic_policy(services, ip, status, before.is_none() && *purpose != Some(Purpose::Add));
        reported_repair
    }

    /// Reports once to each Service that its traffic policy `Local` has an effect on a local address (specification,
    /// api.md 6, where every node reports it at every look). What an earlier run has reported is not reported again
    /// (`adopted`).
    fn traffic_policy(&mut self, services: &Services, ip: IpAddr, status: &Status, adopted: bool) {
        let local = status.placed.is_some_and(|placed| placed.kind == Kind::Local);
        let users = || services.of(ip).filter(|service| local && service.traffic_local);
        let now: BTreeSet<ServiceName> = users().map(|user| user.name.clone()).collect();
        let before =
            if now.is_empty() { self.policy_reported.remove(&ip) } else { self.policy_reported.insert(ip, now) };
        let before = before.unwrap_or_default();
        for service in users().filter(|service| !adopted && !before.contains(&service.name)) {
            let note = format!(
                "externalTrafficPolicy is Local and stays so: a node with an endpoint of the Service is to answer for {ip}, if there is one; node {} does now",
                self.node
            );
            self.service(service, Severity::Normal, reason::LOCAL_OVERRIDE, note);
        }
    }

    fn announced(
        &self,
        services: &Services,
        observed: &Observed,
        placement: &Placement,
        purpose: Option<Purpose>,
        from: Option<&NodeId>,
    ) {
        let (ip, interface, node) = (placement.key.ip, observed.name_of(placement.key.index), &self.node);
        let (word, event) = match placement.kind {
            Kind::Local => ("electionWon", reason::ANNOUNCING_LOCAL),
            Kind::Remote => ("announcingNonLocal", reason::ANNOUNCING_NON_LOCAL),
        };
        let adopted = purpose != Some(Purpose::Add);
        tracing::info!(op = "announce", event = word, ip = %ip, interface, prefix = placement.key.prefix_len, adopted, "announcing");
        if !adopted {
            let from = from.map(|from| format!(", taken over from node {from}")).unwrap_or_default();
            let text = format!("node {node} announces {ip} on interface {interface}{from}");
            self.services(services, ip, Severity::Normal, event, &text);
        }
    }

    fn repair(&self, services: &Services, observed: &Observed, ip: IpAddr, placement: &Placement) {
        let (interface, node) = (observed.name_of(placement.key.index), &self.node);
        let text = format!("node {node} found {ip} missing or changed on interface {interface} and has repaired it");
        tracing::warn!(op = "repair", event = "addressRepaired", ip = %ip, interface, "{text}");
        self.metrics.repairs.inc();
        self.services(services, ip, Severity::Warning, reason::ADDRESS_REPAIRED, &text);
    }
}
