//! The beginning and the end of a term.

use super::fencing::needs_fence;
use super::index::Index;
use crate::model::{Service, ServiceName};

impl Index {
    /// A term begins: from now on this replica writes. `fence` differs from that of any other term of any process.
    ///
    /// Unless the predecessor stopped cleanly, the Services that it may have been about to give an address are fenced
    /// first. The Services themselves show which those are; see `fencing`.
    pub fn lead(&mut self, clean: bool, fence: &str) {
        self.leading = true;
        self.restart_external();
        let to_fence = self.services.iter().filter(|service| !clean && needs_fence(service));
        self.fencing.begin(fence, to_fence.map(|service| service.name.clone()).collect());
        self.assume_unanswered_calls();
        let mut oldest_first: Vec<&Service> = self.services.iter().collect();
        oldest_first.sort_by_key(|service| service.seniority());
        let names: Vec<ServiceName> = oldest_first.into_iter().map(|service| service.name.clone()).collect();
        for name in names {
            self.enqueue(&name);
        }
        for name in self.services.names() {
            let addresses = self.services.get(&name).map(|service| service.addresses.clone()).unwrap_or_default();
            self.check_sharing(&name, &addresses);
        }
        self.status.touch_all();
        let notices = self.groups.all_notices();
        self.report_groups(notices);
    }

    /// The predecessor may have sent calls to sidecars for the Services that are fenced.
    fn assume_unanswered_calls(&mut self) {
        for name in self.fencing.open() {
            let key = self.services.get(name).and_then(Service::key).map(ToString::to_string).unwrap_or_default();
            self.external.assume_unanswered(name, &key);
        }
    }

    /// The term is over: from now on this replica writes nothing.
    pub fn follow(&mut self) {
        self.leading = false;
        self.queue.clear();
        self.fencing.end();
        self.events.clear();
        self.external.clear(self.groups.table());
        for name in self.services.stop_writing() {
            self.update_addresses(&name);
        }
    }

    /// Whether a fence is not answered yet.
    #[must_use]
    pub fn is_fencing(&self) -> bool {
        self.fencing.is_active()
    }
}
