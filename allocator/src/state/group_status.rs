//! Which group statuses are due, and what was written last.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api_types::ServiceGroupStatus;
use k8s_openapi::jiff::Timestamp;
use runtime::BootTime;
use serde_json::{Value, json};

use super::group_view::GroupView;
use crate::metrics::Metrics;
use crate::model::{GroupId, GroupTable};

/// The status of a group is written at most this often.
const PERIOD: Duration = Duration::from_secs(1);
/// The pause after a write that failed.
const RETRY: Duration = Duration::from_secs(5);

/// A status to write.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusPatch {
    /// The group.
    pub group: GroupId,
    /// The configuration to apply (server-side apply) to the status subresource.
    pub body: Value,
}

/// The last write of a status.
#[derive(Debug)]
struct LastWrite {
    /// What was written; `None` if the write failed, so that it is repeated whatever the status is.
    status: Option<ServiceGroupStatus>,
    /// When; after a failure, the time before which the next write waits.
    at: BootTime,
}

/// The statuses of all groups.
#[derive(Debug, Default)]
pub(super) struct GroupStatuses {
    /// Groups whose status may have changed.
    dirty: BTreeSet<GroupId>,
    /// The status of every group may have changed.
    all_dirty: bool,
    last_writes: BTreeMap<GroupId, LastWrite>,
}

impl GroupStatuses {
    /// The status of the group may have changed.
    pub(super) fn touch(&mut self, id: GroupId) {
        self.dirty.insert(id);
    }

    /// The status of every group may have changed.
    pub(super) const fn touch_all(&mut self) {
        self.all_dirty = true;
    }

    /// The use of the addresses has changed.
    pub(super) fn touch_addresses(&mut self, table: &GroupTable, addresses: &[IpAddr]) {
        for &address in addresses {
            match table.group_of(address).and_then(|(group, _)| table.id_of(&group.name)) {
                Some(id) if self.dirty.contains(id) => {}
                Some(id) => _ = self.dirty.insert(id.clone()),
                // Any group that contained it before may list it.
                None => self.all_dirty = true,
            }
        }
    }

    /// The object of the group is gone.
    pub(super) fn forget(&mut self, id: &GroupId) {
        self.last_writes.remove(id);
        self.dirty.remove(id);
    }

    /// The statuses to write now, `room` at most. Also refreshes the gauges of each group that is looked at.
    pub(super) fn due(
        &mut self,
        view: &GroupView<'_>,
        leading: bool,
        metrics: &Metrics,
        now: BootTime,
        time: Timestamp,
        room: usize,
    ) -> Vec<StatusPatch> {
        if std::mem::take(&mut self.all_dirty) {
            metrics.reset_pools();
            let table = view.groups.table();
            let shown = table.accepted().map(|(id, _)| id).chain(table.refused().map(|(id, _)| id));
            self.dirty.extend(shown.cloned());
        }
        let rested = |id: &&GroupId| self.last_writes.get(*id).is_none_or(|last| now.since(last.at) >= PERIOD);
        let due: Vec<GroupId> = self.dirty.iter().filter(rested).cloned().collect();
        let mut patches = Vec::new();
        for id in due {
            if patches.len() >= room {
                break;
            }
            self.dirty.remove(&id);
            view.refresh_gauges(&id.1, metrics);
            let Some(status) = view.status(&id, time) else { continue };
            if !leading || !self.is_new(view, &id, &status) {
                continue;
            }
            patches.push(status_patch(view, &id, &status));
            self.last_writes.insert(id, LastWrite { status: Some(status), at: now });
        }
        patches
    }

    /// A write failed: the status is written again after a pause.
    pub(super) fn write_failed(&mut self, id: &GroupId, exists: bool, now: BootTime) {
        if let Some(last) = self.last_writes.get_mut(id) {
            *last = LastWrite { status: None, at: now + RETRY };
        }
        if exists {
            self.dirty.insert(id.clone());
        }
    }

    fn is_new(&self, view: &GroupView<'_>, id: &GroupId, status: &ServiceGroupStatus) -> bool {
        match self.last_writes.get(id) {
            Some(last) => last.status.as_ref() != Some(status),
            None => view.groups.object(id).and_then(|object| object.status.as_ref()) != Some(status),
        }
    }

    #[cfg(test)]
    pub(super) fn forget_writes(&mut self) {
        self.last_writes.clear();
    }
}

fn status_patch(view: &GroupView<'_>, id: &GroupId, status: &ServiceGroupStatus) -> StatusPatch {
    let uid = view.groups.object(id).map(|object| object.uid.as_str());
    let body = json!({
        "apiVersion": "purelb.io/v2",
        "kind": "ServiceGroup",
        "metadata": {"namespace": id.0, "name": id.1, "uid": uid},
        "status": status,
    });
    StatusPatch { group: id.clone(), body }
}
