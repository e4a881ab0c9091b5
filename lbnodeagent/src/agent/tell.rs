//! Telling others: the neighbours on the wire, and the Services in their annotations.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use api_types::Family;
use api_types::names::{annotation as keys, reason};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams};
use runtime::events::Kind as Urgency;
use runtime::log::ErrorChain;
use runtime::write::{Next, within};
use runtime::{BootTime, Task};
use serde_json::{Map, Value, json};

use super::Agent;
use crate::desired::{Kind, Reason};
use crate::packet::frames::announcement;
use crate::packet::socket::PacketSocket;
use crate::publish::annotation::{Edit, Part, edit};
use crate::publish::lease::FIELD_MANAGER;
use crate::services::{ServiceName, ServiceView};

/// How long one write may take.
const DEADLINE: Duration = Duration::from_secs(5);

impl Agent {
    /// An address has become ours: the neighbours must hear of it.
    pub(super) fn claim(&mut self, ip: IpAddr) {
        let Some(config) = self.mode.config() else { return };
        self.schedule.claim(ip, &config.announcements.schedule, BootTime::now());
    }

    /// Somebody else may have answered for our addresses while the members could not see each other.
    pub(super) fn claim_again(&mut self) {
        let local =
            self.status.iter().filter(|(_, status)| status.placed.is_some_and(|placed| placed.kind == Kind::Local));
        let local: Vec<IpAddr> = local.map(|(ip, _)| *ip).collect();
        for ip in local {
            self.claim(ip);
        }
    }

    /// The annotations of the Services with this address may need a change.
    pub(super) fn note_slots(&mut self, ip: IpAddr) {
        let now = BootTime::now();
        // All nodes see a change at once; they need not write at once.
        let jitter = Duration::from_millis(u64::from(now.as_millis().to_le_bytes()[0]) / 4);
        let local = self.wanted.get(&ip).is_some_and(|placement| placement.kind == Kind::Local);
        for service in self.world.services.of(ip) {
            // Remote addresses have no entries, unless they were local before.
            if !local && service.announcing(Family::of(ip)).is_none() {
                continue;
            }
            self.slots.note(&service.name, now, jitter);
        }
    }

    /// Sends and writes what is due.
    pub(super) fn tell(&mut self) {
        let now = BootTime::now();
        for ip in self.schedule.take(now) {
            self.announce(ip);
        }
        for name in self.slots.due(now) {
            if self.write_slots(&name, now) {
                return;
            }
        }
    }

    fn announce(&mut self, ip: IpAddr) {
        // Asked again each time: it may have been lost meanwhile.
        let placed = self.status.get(&ip).and_then(|status| status.placed).filter(|placed| placed.kind == Kind::Local);
        let Some(placed) = placed else { return };
        let index = placed.key.index;
        let Some(mac) = self.observed.links.get(&index).and_then(|link| link.mac) else { return };
        let link_local = self.observed.addresses.keys().filter(|key| key.index == index).find_map(|key| match key.ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(ip),
            _ => None,
        });
        let sent = self.send(index, &announcement(ip, mac, link_local.filter(|_: &Ipv6Addr| ip.is_ipv6())));
        let metrics = &self.outside.metrics;
        let (good, bad) = match Family::of(ip) {
            Family::V4 => (&metrics.garp_sent, &metrics.garp_errors),
            Family::V6 => (&metrics.na_sent, &metrics.na_errors),
        };
        match sent {
            Ok(()) => good.inc(),
            Err(errno) => {
                bad.inc();
                tracing::debug!(op = "announce", ip = %ip, %errno, "announcement not sent");
            }
        }
    }

    fn send(&mut self, index: u32, frames: &[Vec<u8>]) -> Result<(), nix::errno::Errno> {
        if self.packets.is_none() {
            self.packets = Some(PacketSocket::open()?);
        }
        let Some(socket) = &self.packets else { return Ok(()) };
        frames.iter().try_for_each(|frame| socket.send(index, frame))
    }

    /// Starts the write of a Service's announcing annotations; returns whether there is one.
    fn write_slots(&mut self, name: &ServiceName, now: BootTime) -> bool {
        let Some(service) = self.world.services.get(name) else {
            self.slots.forget(name);
            return false;
        };
        let edits: Vec<(Family, Edit)> = Family::ALL
            .into_iter()
            .filter_map(|family| self.edit(service, family).map(|edit| (family, edit)))
            .collect();
        if edits.is_empty() {
            self.slots.forget(name);
            return false;
        }
        let mut annotations = Map::new();
        for (family, edit) in &edits {
            let key = if *family == Family::V4 { keys::ANNOUNCING_IPV4 } else { keys::ANNOUNCING_IPV6 };
            annotations.insert(key.to_owned(), edit.text.clone().map_or(Value::Null, Value::String));
            for from in &edit.replaced {
                self.outside.metrics.slot_steals.with_label_values(&[from, &self.settings.node]).inc();
                let text = format!("node {} announces addresses that node {from} announced", self.settings.node);
                for address in service.addresses.iter().filter(|address| Family::of(**address) == *family).take(1) {
                    self.tell_users(*address, Urgency::Normal, reason::ANNOUNCE_SLOT_STEAL, &text);
                }
            }
        }
        // The version makes sure that nobody else's entry is lost.
        let patch = Patch::Merge(json!({"metadata": {
            "resourceVersion": service.resource_version, "uid": service.uid, "annotations": annotations
        }}));
        let api: Api<Service> = Api::namespaced(self.outside.client.clone(), &name.namespace);
        let (writes, service) = (self.outside.metrics.writes.clone(), name.clone());
        self.slots.begin(name, now);
        self.slot_write = Some(Task::spawn(async move {
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let request = api.patch_status(&service.name, &parameters, &patch);
            match writes.count("service", within(DEADLINE, request).await) {
                Ok(_) => true,
                Err(error) if error.next() == Next::Forget => true,
                Err(error) => {
                    tracing::debug!(op = "annotate", service = %service, error = %ErrorChain(&error), "annotation not written yet");
                    false
                }
            }
        }));
        true
    }

    /// The write under way has ended.
    pub(super) fn slot_written(&mut self, succeeded: bool) {
        self.slot_write = None;
        self.slots.end(succeeded, BootTime::now());
    }

    fn edit(&self, service: &ServiceView, family: Family) -> Option<Edit> {
        let of_family = service.addresses.iter().filter(|address| Family::of(**address) == family);
        let parts: BTreeMap<IpAddr, Part> = of_family.map(|address| (*address, self.part(*address))).collect();
        edit(service.announcing(family), &self.settings.node, &parts)
    }

    fn part(&self, address: IpAddr) -> Part {
        let Some(status) = self.status.get(&address) else { return Part::Leaves };
        match (status.placed, &status.decision.reason) {
            (Some(placed), _) if placed.kind == Kind::Local => {
                Part::Announces(self.observed.name_of(placed.key.index).to_owned())
            }
            (None, Reason::OtherOwner(_) | Reason::NoEligibleNodes | Reason::Undecided) => Part::Leaves,
            _ => Part::Cannot,
        }
    }
}
