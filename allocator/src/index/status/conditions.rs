//! The conditions of a group.

use std::net::IpAddr;

use api_types::ServiceGroupStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::groups::{GroupObject, Refused};
use crate::ipam::Standing;
use crate::service::Name;

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

    fn stored(&self, name: &str) -> Option<&'a Condition> {
        self.object.status.as_ref()?.conditions.iter().find(|stored| stored.type_ == name)
    }

    fn add(&mut self, name: &str, holds: bool, reason: &str, message: String) {
        let status = if holds { "True" } else { "False" };
        // The time of the last change of the status stays as long as the status does.
        let stored = self.stored(name).filter(|stored| stored.status == status);
        let since = stored.map(|stored| stored.last_transition_time.clone());
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

    pub(super) fn external(&mut self, provider: &str, socket: &str, standing: Standing<'_>) {
        match standing {
            Standing::Answers => {
                let message = format!("the group is in use; its IPAM sidecar ({provider}) answers");
                self.add("Ready", true, "Accepted", message);
            }
            // After a restart what was said last stands until there is news.
            Standing::Unknown if self.stored("Ready").is_some() => self.found.extend(self.stored("Ready").cloned()),
            Standing::Unknown => {
                let message = format!("the IPAM sidecar ({provider}) at {socket} has not answered yet");
                self.add("Ready", false, "Connecting", message);
            }
            Standing::Silent(text) => {
                let message = format!(
                    "the IPAM sidecar ({provider}) does not answer at {socket}: {text}; see that it runs in the allocator's pod and that both mount the directory of the socket. New Services wait for it, those with an address keep it"
                );
                self.add("Ready", false, "SidecarUnavailable", message);
            }
        }
    }

    pub(super) fn owed(&mut self, owed: &[(&Name, Option<IpAddr>)]) {
        if owed.is_empty() {
            return;
        }
        let mut listed: Vec<String> = owed
            .iter()
            .take(LISTED)
            .map(|(service, address)| match address {
                Some(address) => format!("{address} of {service}"),
                None => format!("all of {service}"),
            })
            .collect();
        if owed.len() > LISTED {
            listed.push(format!("and {} more", owed.len() - LISTED));
        }
        let message = format!("the IPAM sidecar has not taken back yet: {}; it is tried again", listed.join(", "));
        self.add("ReleasesPending", true, "NotReleased", message);
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
            ("IPv4", status.allocated_ipv4, status.available_ipv4),
            ("IPv6", status.allocated_ipv6, status.available_ipv6),
        ] {
            // A sidecar may not know.
            let Some(free) = free else { continue };
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
