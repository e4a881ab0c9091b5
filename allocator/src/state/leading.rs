//! The beginning and the end of a term.

use api_types::names::condition::OVERWRITTEN;

use super::fencing::{GROUPS_SETTLED, MayGet, needs_fence};
use super::index::Index;
use super::unanswered::Unanswered;
use crate::model::{Service, ServiceName};
use crate::plan::select_groups;

impl Index {
    /// A term begins: from now on this replica writes. `fence` differs from that of any other term of any process.
    ///
    /// Unless the predecessor stopped cleanly, the Services that it may have been about to give an address are fenced
    /// first. The Services themselves show which those are; see `fencing`.
    pub fn lead(&mut self, clean: bool, fence: &str) {
        self.leading = true;
        self.repairs.begin(self.now, self.time);
        self.announcing.begin();
        self.restart_external();
        let to_fence = self.services.iter().filter(|service| !clean && needs_fence(service));
        let to_fence = to_fence.map(|service| (service.name.clone(), self.may_get(service))).collect();
        self.fencing.begin(fence, to_fence);
        let mut oldest_first: Vec<&Service> = self.services.iter().collect();
        oldest_first.sort_by_key(|service| service.seniority());
        let names: Vec<ServiceName> = oldest_first.into_iter().map(|service| service.name.clone()).collect();
        for name in names {
            self.enqueue(&name);
        }
        for name in self.services.names() {
            self.classify(&name);
            // Edits before this term are answered, or were made while nobody led.
            self.services.take_edit(&name);
            self.inherit_condition(&name);
            let addresses = self.services.get(&name).map(|service| service.claimed().to_vec()).unwrap_or_default();
            self.check_sharing(&name, &addresses);
        }
        self.check_all_reserved();
        self.status.touch_all();
        let notices = self.groups.all_notices();
        self.report_groups(notices);
    }

    /// What a late write of the predecessor could give the Service.
    fn may_get(&self, service: &Service) -> MayGet {
        if self.now.since(self.groups_changed) < GROUPS_SETTLED {
            return MayGet::Anything;
        }
        if let Some(pins) = service.requested.pins() {
            // If one of them is not an address, nothing is given.
            return MayGet::These(pins.split(',').filter_map(|pin| pin.trim().parse().ok()).collect());
        }
        let (groups, bindings) = (self.groups.table(), self.groups.bindings());
        let selection = select_groups(groups, bindings, service.name.namespace(), service.requested.groups.as_deref());
        let groups = selection.map(|selection| selection.groups).unwrap_or_default();
        MayGet::Of(groups.into_iter().map(|group| group.name.clone()).collect())
    }

    /// The Service may have the condition `Overwritten` of an earlier term. It stays for its time.
    fn inherit_condition(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get(name) else { return };
        let known =
            service.conditions.iter().find(|condition| condition.get("type").is_some_and(|kind| kind == OVERWRITTEN));
        if let Some(message) = known.and_then(|condition| condition.get("message")?.as_str()) {
            self.repairs.inherit(service, message, self.now);
        }
    }

    /// The term is over: from now on this replica writes nothing.
    pub fn follow(&mut self) {
        self.leading = false;
        self.queue.clear();
        self.fencing.end();
        self.unanswered = Unanswered::default();
        self.announcing.end();
        self.events.clear();
        self.external.clear(self.groups.table());
        for name in self.services.stop_writing() {
            self.update_addresses(&name);
        }
    }

    /// The fence of a Service is answered, or the Service is gone. Others may have waited for what it could have got: all
    /// of them are planned in the order of their age.
    pub(super) fn close_fence(&mut self, name: &ServiceName) {
        let mut freed = self.fencing.close(name);
        if freed.is_empty() {
            return;
        }
        freed.insert(name.clone());
        let mut freed: Vec<&Service> = freed.iter().filter_map(|name| self.services.get(name)).collect();
        freed.sort_by_key(|service| service.seniority());
        let names: Vec<ServiceName> = freed.into_iter().map(|service| service.name.clone()).collect();
        for name in names {
            self.enqueue(&name);
        }
    }

    /// Whether a fence is not answered yet.
    #[must_use]
    pub fn is_fencing(&self) -> bool {
        self.fencing.is_active()
    }
}
