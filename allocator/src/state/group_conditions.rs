//! The conditions of a ServiceGroup.
//!
//! Each function of [`Conditions`] adds one condition, if it holds. `Ready` is always present.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::names::group_condition::{READY, STALLED, ready_reason};
use api_types::{AddressRange, ServiceGroupStatus};
use ipnetwork::IpNetwork;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::aggregates::CutOff;
use super::condition::{join_first, whole_seconds};
use super::routers::RoutersView;
use crate::addresses::ReservedFor;
use crate::external::SidecarState;
use crate::model::{GroupObject, GroupRefusal, Owner};

/// The most addresses that a message lists.
const LISTED: usize = 10;
/// Fewer addresses are never nearly full.
const SMALL: i64 = 10;

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
        self.add(READY, true, ready_reason::ACCEPTED, "the group is in use".to_owned());
    }

    /// `Ready` of a refused group. It stays so until somebody edits it or another object.
    pub(super) fn refused(&mut self, refusal: &GroupRefusal) {
        self.add(READY, false, refusal.reason(), refusal.to_string());
        self.add(STALLED, true, refusal.reason(), refusal.to_string());
    }

    /// `Ready` of an accepted external group.
    pub(super) fn external(&mut self, provider: &str, socket: &str, sidecar: SidecarState<'_>) {
        match sidecar {
            SidecarState::Answering => {
                let message = format!("the group is in use; its IPAM sidecar ({provider}) answers");
                self.add(READY, true, ready_reason::ACCEPTED, message);
            }
            SidecarState::WithoutNumbers(text) => {
                let message = format!(
                    "the group is in use; its IPAM sidecar ({provider}) at {socket} answers, but does not say how many addresses it has: {text}"
                );
                self.add(READY, true, ready_reason::ACCEPTED, message);
            }
            // After a restart the stored condition stays until a call has ended.
            SidecarState::Unknown if self.stored(READY).is_some() => {
                self.found.extend(self.stored(READY).cloned());
            }
            SidecarState::Unknown => {
                let message = format!("the IPAM sidecar ({provider}) at {socket} has not answered yet");
                self.add(READY, false, ready_reason::CONNECTING, message);
            }
            SidecarState::NotAsked(why) => {
                let message = format!("no call is sent to the IPAM sidecar ({provider}): {why}");
                self.add(READY, false, ready_reason::CONNECTING, message);
            }
            SidecarState::NotAnswering(text) => {
                let message = format!(
                    "the IPAM sidecar ({provider}) at {socket} does not answer: {text}. New Services wait, Services with an address keep it"
                );
                self.add(READY, false, ready_reason::SIDECAR_UNAVAILABLE, message);
            }
        }
    }

    /// `ReleasesPending`: the sidecar has not taken back addresses.
    pub(super) fn releases_pending(&mut self, pending: &[(&Owner, Option<IpAddr>)], why: Option<&str>) {
        if pending.is_empty() {
            return;
        }
        let items = pending.iter().map(|(service, address)| match address {
            Some(address) => format!("{address} of {service}"),
            None => format!("all of {service}"),
        });
        let listed = join_first(items, LISTED, ", ");
        let why = why.map_or_else(String::new, |why| format!(" The sidecar says: {why}"));
        let message = format!("the IPAM sidecar has not taken back yet: {listed}; the allocator tries again.{why}");
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

    /// `ReservedAddresses`: addresses of the ranges are somebody else's.
    pub(super) fn reserved_addresses<'b>(&mut self, reserved: impl Iterator<Item = (IpAddr, &'b ReservedFor)>) {
        let (forbidden, avoided): (Vec<_>, Vec<_>) = reserved.partition(|(_, found)| found.forbids());
        let list = |found: &[(IpAddr, &ReservedFor)]| {
            join_first(found.iter().map(|(address, whose)| format!("{address} ({whose})")), LISTED, ", ")
        };
        let mut parts = Vec::new();
        if !forbidden.is_empty() {
            parts.push(format!("given to no Service: {}", list(&forbidden)));
        }
        if !avoided.is_empty() {
            parts.push(format!("given when no other address is free: {}", list(&avoided)));
        }
        if !parts.is_empty() {
            self.add("ReservedAddresses", true, "UsedElsewhere", parts.join("; "));
        }
    }

    /// `OverlapsServiceCIDR` of a group that stays in use nevertheless.
    pub(super) fn service_network(&mut self, range: &str, name: &str, network: IpNetwork) {
        let message = format!(
            "range {range} overlaps with {network} of the ServiceCIDR {name:?}, from which Services get their cluster IPs; the group stays in use because Services have its addresses: move them to another range"
        );
        self.add("OverlapsServiceCIDR", true, "ServiceCIDR", message);
    }

    /// `OverlapsPodCIDR`: ranges lie in networks of pods. Not every network plugin uses these.
    pub(super) fn pod_networks<'b>(&mut self, overlapping: impl Iterator<Item = (&'b str, IpNetwork, &'b str)>) {
        let items: Vec<String> =
            overlapping.map(|(range, network, node)| format!("{range} with {network} of {node}")).collect();
        if items.is_empty() {
            return;
        }
        let message = format!(
            "ranges overlap with podCIDRs: {}; choose other ranges, unless the network plugin does not use these podCIDRs",
            join_first(items, LISTED, ", ")
        );
        self.add("OverlapsPodCIDR", true, "PodCIDR", message);
    }

    /// `AggregateCutsOff`: aggregates are wider than the ranges.
    pub(super) fn cut_off(&mut self, found: &[CutOff]) {
        if found.is_empty() {
            return;
        }
        let ends = |part: &AddressRange| format!("{}-{}", part.first(), part.last());
        let items = found.iter().map(|CutOff { range, length, rest, outside }| {
            let nodes = outside.map(|subnet| format!(", on nodes outside of {subnet}")).unwrap_or_default();
            format!("{} (by /{length} for {range}{nodes})", join_first(rest.iter().map(ends), LISTED, ", "))
        });
        let message = format!(
            "aggregates are wider than the group's ranges, so nodes and pods do not reach what others have of {}; use a longer aggregation, such as /32 or /128, unless nobody uses these addresses",
            join_first(items, LISTED, "; ")
        );
        self.add("AggregateCutsOff", true, "WiderThanRanges", message);
    }

    /// `NoNodeInSubnet`: ranges in which no node can answer.
    pub(super) fn out_of_reach(&mut self, ranges: &[String], subnets: &BTreeSet<IpNetwork>) {
        if ranges.is_empty() {
            return;
        }
        let ranges = join_first(ranges.iter().cloned(), LISTED, ", ");
        let nodes = if subnets.is_empty() {
            "no agent runs".to_owned()
        } else {
            format!(
                "the nodes with a running agent are in {}",
                join_first(subnets.iter().map(ToString::to_string), LISTED, ", ")
            )
        };
        let message =
            format!("no node can announce {ranges}: {nodes}; use a range of these subnets, or a remote group");
        self.add("NoNodeInSubnet", true, "NotAnnounced", message);
    }

    /// `NoAgent`: nobody can announce addresses that all nodes may announce.
    pub(super) fn no_agent(&mut self) {
        let message = "no agent runs, so no node can announce the group's addresses; check the DaemonSet lbnodeagent";
        self.add("NoAgent", true, "NotAnnounced", message.to_owned());
    }

    /// `DeadNodesNoticed`: whether all routers of all nodes would notice the death of a node by BFD.
    pub(super) fn routers(&mut self, routers: Option<RoutersView>) {
        if let Some(RoutersView { all, text }) = routers {
            self.add("DeadNodesNoticed", all, if all { "ByBFD" } else { "AfterHoldTime" }, text);
        }
    }

    /// `NearlyFull`: more than 90 % of the addresses of a family are in use. Of a range for a few Services that is as meant,
    /// so it counts from [`SMALL`] addresses on.
    pub(super) fn nearly_full(&mut self, status: &ServiceGroupStatus) {
        let mut full = Vec::new();
        for (family, used, free) in [
            ("IPv4", status.allocated_ipv4, status.available_ipv4),
            ("IPv6", status.allocated_ipv6, status.available_ipv6),
        ] {
            // A sidecar may not know how many are free.
            let Some(free) = free else { continue };
            if used > free.saturating_mul(9) && used.saturating_add(free) >= SMALL {
                full.push(format!("{family}: {used} addresses in use, {free} free"));
            }
        }
        if !full.is_empty() {
            self.add("NearlyFull", true, "Above90Percent", format!("{}; add a range", full.join("; ")));
        }
    }

    /// `Full`: Services wait for an address of the group.
    pub(super) fn full(&mut self, waiting: usize) {
        if waiting > 0 {
            let text = format!("Services that wait for an address: {waiting}; add a range, or delete Services");
            self.add("Full", true, "ServicesWait", text);
        }
    }

    /// `WritesUnanswered`: the API server does not answer writes to Services, of whichever group.
    pub(super) fn writes_unanswered(&mut self, services: usize, cause: &str) {
        let text = format!(
            "Services whose status cannot be written, because the API server does not answer in time: {services}; {cause}"
        );
        self.add("WritesUnanswered", true, "NoAnswer", text);
    }

    pub(super) fn finish(self) -> Vec<Condition> {
        self.found
    }
}
