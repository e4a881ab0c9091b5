//! What is told of releases that nobody would see otherwise: those that are given up, and those of groups that are gone.
//!
//! Nothing is given up because it is old. Of a group that exists, the condition `ReleasesPending` shows what is owed.

use std::collections::BTreeMap;

use api_types::names::{OWED_RECORD, reason};
use k8s_openapi::api::core::v1::ObjectReference;
use runtime::BootTime;
use tracing::{info, warn};

use super::condition::join_first;
use super::index::Index;
use super::owed_record::{MOST_RECORDED, UnusableRecord};
use crate::external::{Moved, Owed};
use crate::plan::Notice;

/// The most releases that a message lists. The log has all of them.
const LISTED: usize = 20;
/// The most letters of a record that nobody can read, in an event.
const LETTERS: usize = 500;

impl Index {
    /// The record on which what concerns no other object is told.
    pub(super) fn record_reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            namespace: Some(self.groups.namespace().to_owned()),
            name: Some(OWED_RECORD.to_owned()),
            ..ObjectReference::default()
        }
    }

    /// Tells which releases would be forgotten if this process ended.
    pub(super) fn report_unrecorded(&mut self, too_many: &[Owed]) {
        if too_many.is_empty() {
            return;
        }
        for owed in too_many {
            log(owed, "to be given back, and not recorded");
        }
        let text = format!(
            "IPAM sidecars have not taken back more than {MOST_RECORDED} allocations, and no more are recorded: if the allocator ends, these are never given back: {}",
            list(too_many)
        );
        warn!(op = "ipam", "{text}");
        self.publish(self.record_reference(), Notice::warning(reason::RELEASE_FAILED, text));
    }

    /// Tells that nothing of the record is given back.
    pub(super) fn report_unusable_record(&mut self, record: &str, why: &UnusableRecord) {
        warn!(op = "ipam", record, "the ConfigMap {OWED_RECORD} does not count: {why}");
        let lost = match why {
            UnusableRecord::OfAnotherCluster { owed, .. } => list(owed),
            UnusableRecord::Malformed(_) => record.chars().take(LETTERS).collect(),
        };
        if !lost.is_empty() {
            let text = format!("{why}: give back in the IPAM what no Service has: {lost}");
            self.publish(self.record_reference(), Notice::warning(reason::RELEASE_FAILED, text));
        }
    }

    /// Tells that groups have another socket: nothing is asked of the old one any more.
    pub(super) fn report_moved(&mut self, moved: &[Moved]) {
        for Moved { group, from, to } in moved {
            let mut items: Vec<String> = Vec::new();
            for service in self.services.iter() {
                let held = self.held_by_group(service);
                let of_group = held.get(group).into_iter().flatten();
                items.extend(of_group.map(|address| format!("{address} of {}", service.name)));
            }
            for Owed { service, address, .. } in self.external.owed().filter(|owed| owed.pool == *group) {
                let what = address.map_or_else(|| "all".to_owned(), |address| address.to_string());
                items.push(format!("{what} of {service}, to be given back"));
            }
            if items.is_empty() {
                continue;
            }
            let text = format!(
                "the socket of pool {group:?} was {from} and is {to}: what was given and is owed at the old one is asked of the new one from now on. If another IPAM is behind it, take these back in the old one by hand: "
            );
            warn!(op = "ipam", pool = group, "{text}{}", items.join(", "));
            let text = format!("{text}{}", join_first(items, LISTED, ", "));
            let object = match self.groups.table().id_of(group) {
                Some(id) => self.groups.reference(id),
                None => self.record_reference(),
            };
            self.publish(object, Notice::warning(reason::IPAM_DIFFERS, text));
        }
    }

    /// Tells once a day what is owed of groups that are gone: nothing else shows it.
    pub(super) fn remind_of_gone_groups(&mut self, now: BootTime) {
        if self.external.cluster().is_none() || !self.owed.may_remind(now) {
            return;
        }
        let mut by_pool: BTreeMap<String, Vec<Owed>> = BTreeMap::new();
        for owed in self.external.owed().filter(|owed| self.groups.table().id_of(&owed.pool).is_none()) {
            by_pool.entry(owed.pool.clone()).or_default().push(owed);
        }
        for (pool, owed) in by_pool {
            let socket = self.external.sockets().find(|(name, _)| **name == pool).map(|(_, socket)| socket.as_str());
            let why = self.external.why_not_released(&pool).unwrap_or("it has not answered yet");
            let text = format!(
                "the IPAM sidecar of pool {pool:?}, which is gone, has not taken back at {}: {}; it says: {why}. The allocator tries again until it does. To have it forgotten, give it back in the IPAM by hand, scale the allocator to 0, empty this ConfigMap, and scale it up again",
                socket.unwrap_or("its socket"),
                list(&owed)
            );
            for owed in &owed {
                log(owed, "to be given back, of a group that is gone");
            }
            warn!(op = "ipam", pool, "{text}");
            self.publish(self.record_reference(), Notice::warning(reason::RELEASE_FAILED, text));
        }
    }
}

fn log(Owed { pool, service, uid, address }: &Owed, what: &str) {
    info!(op = "ipam", pool, service, uid, ?address, "{what}");
}

fn list(owed: &[Owed]) -> String {
    let item = |Owed { pool, service, address, .. }: &Owed| match address {
        Some(address) => format!("{pool}: {address} of {service}"),
        None => format!("{pool}: all of {service}"),
    };
    join_first(owed.iter().map(item), LISTED, ", ")
}
