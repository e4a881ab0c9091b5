//! The conditions of a ServiceGroup.
//!
//! Each function of [`Conditions`] adds one condition, if it holds. `Ready` is always present.

use std::net::IpAddr;

use api_types::ServiceGroupStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::condition::{join_first, whole_seconds};
use crate::external::SidecarState;
use crate::model::{GroupObject, GroupRefusal, ServiceName};

/// The most addresses that a message lists.
const LISTED: usize = 10;

/// Collects the conditions of one group.
pub(super) struct Conditions<'a> {
    object: &'a GroupObject,
    time: Timestamp,
    found: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    pub(super) const fn new(object: &'a GroupObject, time: Timestamp) -> Self {
        Self { object, time, found: Vec::new() }
    }

    fn stored(&self, name: &str) -> Option<&'a Condition> {
        self.object.status.as_ref()?.conditions.iter().find(|stored| stored.type_ == name)
    }

    fn add(&mut self, name: &str, holds: bool, reason: &str, message: String) {
        let status = if holds { "True" } else { "False" };
        let stored = self.stored(name).filter(|stored| stored.status == status);
        let since = stored.map(|stored| stored.last_transition_time.clone());
        self.found.push(Condition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(self.object.generation),
            last_transition_time: since.unwrap_or_else(|| Time(whole_seconds(self.time))),
        });
    }

    /// `Ready` of an accepted group with its own ranges.
    pub(super) fn ready(&mut self) {
        self.add("Ready", true, "Accepted", "the group is in use".to_owned());
    }

    /// `Ready` of a refused group.
    pub(super) fn refused(&mut self, refusal: &GroupRefusal) {
        self.add("Ready", false, refusal.reason(), refusal.to_string());
    }

    /// `Ready` of an accepted external group.
    pub(super) fn external(&mut self, provider: &str, socket: &str, sidecar: SidecarState<'_>) {
        match sidecar {
            SidecarState::Answering => {
                let message = format!("the group is in use; its IPAM sidecar ({provider}) answers");
                self.add("Ready", true, "Accepted", message);
            }
            // After a restart the stored condition stays until a call has ended.
            SidecarState::Unknown if self.stored("Ready").is_some() => {
                self.found.extend(self.stored("Ready").cloned());
            }
            SidecarState::Unknown => {
                let message = format!("the IPAM sidecar ({provider}) at {socket} has not answered yet");
                self.add("Ready", false, "Connecting", message);
            }
            SidecarState::NotAnswering(text) => {
                let message = format!(
                    "the IPAM sidecar ({provider}) at {socket} does not answer: {text}; check that it runs in the allocator's pod and that both containers mount the directory of the socket. New Services wait, Services with an address keep it"
                );
                self.add("Ready", false, "SidecarUnavailable", message);
            }
        }
    }

    /// `ReleasesPending`: the sidecar has not taken back addresses.
    pub(super) fn releases_pending(&mut self, pending: &[(&ServiceName, Option<IpAddr>)]) {
        if pending.is_empty() {
            return;
        }
        let items = pending.iter().map(|(service, address)| match address {
            Some(address) => format!("{address} of {service}"),
            None => format!("all of {service}"),
        });
        let listed = join_first(items, LISTED, ", ");
        let message = format!("the IPAM sidecar has not taken back yet: {listed}; the allocator tries again");
        self.add("ReleasesPending", true, "NotReleased", message);
    }

    /// `AddressesOutsidePools`: Services have addresses of ranges that were removed.
    pub(super) fn addresses_outside(&mut self, outside: &[(IpAddr, String)]) {
        if outside.is_empty() {
            return;
        }
        let listed =
            join_first(outside.iter().map(|(address, service)| format!("{address} ({service})")), LISTED, ", ");
        let message = format!(
            "in use, but no longer in a range: {listed}; the Services keep these addresses and nobody else gets them"
        );
        self.add("AddressesOutsidePools", true, "RangeRemoved", message);
    }

    /// `NearlyFull`: more than 90 % of the addresses of a family are in use.
    pub(super) fn nearly_full(&mut self, status: &ServiceGroupStatus) {
        let mut full = Vec::new();
        for (family, used, free) in [
            ("IPv4", status.allocated_ipv4, status.available_ipv4),
            ("IPv6", status.allocated_ipv6, status.available_ipv6),
        ] {
            // A sidecar may not know how many are free.
            let Some(free) = free else { continue };
            if used > free.saturating_mul(9) {
                full.push(format!("{family}: {used} addresses in use, {free} free"));
            }
        }
        if !full.is_empty() {
            self.add("NearlyFull", true, "Above90Percent", format!("{}; add a range", full.join("; ")));
        }
    }

    pub(super) fn finish(self) -> Vec<Condition> {
        self.found
    }
}
