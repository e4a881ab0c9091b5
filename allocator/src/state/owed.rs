//! What an earlier leader owed to sidecars, and the record of what this one owes.

use api_types::names::OWED_RECORD;
use runtime::BootTime;
use tracing::warn;

use super::index::Index;
use super::owed_record::Content;
use crate::external::{Moved, Owed};
use crate::model::{Owner, ServiceName};

impl Index {
    /// Whether it is to be read who asks and what an earlier leader owed.
    #[must_use]
    pub const fn wants_external_start(&self) -> bool {
        self.leading && !self.external.has_begun()
    }

    /// It is known who asks, and what an earlier leader owed: from now on calls are sent. `record` is the text of the record,
    /// `None` if its object does not exist.
    pub fn start_external(&mut self, cluster: &str, record: Option<&str>) {
        if !self.wants_external_start() {
            return;
        }
        if record.is_none() {
            warn!(
                op = "ipam",
                "there is no ConfigMap {OWED_RECORD}: what IPAM sidecars do not take back is forgotten when this process ends; apply the manifests of this release"
            );
        }
        match self.owed.begin(cluster, record) {
            Ok(Content { groups, owed, .. }) => {
                let moved: Vec<Moved> =
                    groups.iter().filter_map(|(group, socket)| self.external.remember_group(group, socket)).collect();
                for release in &owed {
                    self.resume_release(release);
                }
                self.report_moved(&moved);
            }
            Err(error) => self.report_unusable_record(record.unwrap_or_default(), &error),
        }
        self.resume_releases_of_older_release();
        self.assume_unanswered_calls();
        self.external.begin(cluster);
        self.plan_all_again();
    }

    /// It cannot be read who asks, or what an earlier leader owed.
    pub fn cannot_start_external(&mut self, why: &str) {
        if !self.wants_external_start() || !self.external.cannot_begin(why) {
            return;
        }
        warn!(op = "ipam", "no IPAM sidecar is asked: {why}");
        self.status.touch_all();
        self.plan_all_again();
    }

    /// Services may wait for sidecars, or have addresses of groups that were unknown so far.
    fn plan_all_again(&mut self) {
        if !self.external.is_empty() {
            for name in self.services.names() {
                self.enqueue(&name);
            }
        }
    }

    /// A predecessor may have asked sidecars for these Services without living to see the answer.
    fn assume_unanswered_calls(&mut self) {
        for service in self.services.iter().filter(|service| service.written.asked_of.is_some()) {
            let key = service.key().map(ToString::to_string).unwrap_or_default();
            self.external.assume_unanswered(&Owner::from(service), &key, service.written.asked_groups());
        }
    }

    /// Releases that only the status of a group lists: an older release of the allocator wrote it.
    fn resume_releases_of_older_release(&mut self) {
        let mut found = Vec::new();
        for (id, group) in self.groups.table().accepted() {
            let status = self.groups.object(id).and_then(|object| object.status.as_ref());
            for pending in status.iter().flat_map(|status| &status.pending_releases) {
                found.push(Owed {
                    pool: group.name.clone(),
                    service: pending.service.clone(),
                    uid: String::new(),
                    address: pending.address.as_deref().and_then(|text| text.parse().ok()),
                });
            }
        }
        let recorded: Vec<Owed> = self.external.owed().collect();
        found.retain(|old| !recorded.iter().any(|new| new.pool == old.pool && new.service == old.service));
        for owed in found {
            self.resume_release(&owed);
        }
    }

    /// Resumes a release that is older than what is known of the Services.
    fn resume_release(&mut self, owed: &Owed) {
        let Some((namespace, name)) = owed.service.split_once('/') else { return };
        let owner = Owner::new(&ServiceName::new(namespace, name), &owed.uid);
        if let Some(service) = self.services.get(&owner.name) {
            let held = self.held_by_group(service);
            let of_pool = held.get(&owed.pool);
            let in_use = of_pool.is_some_and(|held| owed.address.is_none_or(|address| held.contains(&address)));
            if in_use && (owed.uid.is_empty() || *owed.uid == *service.uid) {
                return;
            }
            // Before the release can be sent: a sidecar that does not keep owners would take it for this Service's.
            self.external.record_held(&Owner::from(service), &held);
        }
        self.external.resume_release(&owed.pool, &owner, owed.address);
    }

    /// The text to write into the record now, if it is to change.
    pub fn record_write(&mut self, now: BootTime) -> Option<String> {
        if !self.leading {
            return None;
        }
        self.remind_of_gone_groups(now);
        if !self.owed.may_write(now) {
            return None;
        }
        let content = Content {
            cluster: self.external.cluster()?.to_owned(),
            groups: self.external.sockets().map(|(group, socket)| (group.clone(), socket.clone())).collect(),
            owed: self.external.owed().collect(),
        };
        let (text, too_many) = self.owed.next(content, now);
        self.report_unrecorded(&too_many);
        text
    }

    /// The write of the record has ended.
    pub fn record_written(&mut self, success: bool, now: BootTime) {
        self.owed.ended(success, now);
    }
}
