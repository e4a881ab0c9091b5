//! The conditions of a group.

use std::net::IpAddr;

use api_types::ServiceGroupStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::groups::{GroupObject, Refused};

/// How many addresses a sentence lists.
const LISTED: usize = 10;

/// Collects the conditions of one group; a condition that does not hold is left out, but for `Ready`.
pub(super) struct Conditions<'a> {
    object: &'a GroupObject,
    time: Timestamp,
    found: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    pub(super) const fn new(object: &'a GroupObject, time: Timestamp) -> Self {
        Self { object, time, found: Vec::new() }
    }

    fn add(&mut self, name: &str, holds: bool, reason: &str, message: String) {
        let status = if holds { "True" } else { "False" };
        // The time of the last change of the status stays as long as the status does.
        let stored = self.object.status.iter().flat_map(|status| &status.conditions);
        let since = stored
            .filter(|stored| stored.type_ == name && stored.status == status)
            .map(|stored| stored.last_transition_time.clone())
            .next();
        // The API has seconds only.
        let now = Timestamp::from_second(self.time.as_second()).unwrap_or(self.time);
        self.found.push(Condition {
            type_: name.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: Some(self.object.generation),
            last_transition_time: since.unwrap_or(Time(now)),
        });
    }

    pub(super) fn ready(&mut self) {
        self.add("Ready", true, "Accepted", "the group is in use".to_owned());
    }

    pub(super) fn external(&mut self, provider: &str) {
        let message = format!(
            "external IPAM ({provider}) is not available in this version: Services get no address from this group"
        );
        self.add("Ready", false, "ExternalUnavailable", message);
    }

    pub(super) fn refused(&mut self, refused: &Refused) {
        self.add("Ready", false, refused.reason(), refused.to_string());
    }

    pub(super) fn outside(&mut self, outside: &[(IpAddr, String)]) {
        if outside.is_empty() {
            return;
        }
        let mut listed: Vec<String> =
            outside.iter().take(LISTED).map(|(address, service)| format!("{address} ({service})")).collect();
        if outside.len() > LISTED {
            listed.push(format!("and {} more", outside.len() - LISTED));
        }
        let message = format!(
            "in use, but in no range any more: {}; the Services keep them, and nobody else gets them",
            listed.join(", ")
        );
        self.add("AddressesOutsidePools", true, "RangeRemoved", message);
    }

    pub(super) fn nearly_full(&mut self, status: &ServiceGroupStatus) {
        let mut full = Vec::new();
        for (family, used, free) in [
            ("IPv4", status.allocated_ipv4, status.available_ipv4.unwrap_or_default()),
            ("IPv6", status.allocated_ipv6, status.available_ipv6.unwrap_or_default()),
        ] {
            // More than 90 % in use.
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
