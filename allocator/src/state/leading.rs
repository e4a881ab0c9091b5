//! The beginning and the end of a term.

use std::collections::BTreeSet;

use api_types::AddressRange;
use api_types::names::condition::OVERWRITTEN;

use super::fencing::{may_have_been_served, needs_fence};
use super::index::Index;
use super::offering::named_addresses;
use super::offers::Offer;
use super::unanswered::Unanswered;
use crate::addresses::AddressSet;
use crate::model::{Service, ServiceName};

impl Index {
    /// A term begins: from now on this replica writes. `fence` differs from that of any other term of any process, and
    /// `offer` is what the predecessor had said last that it may be about to give.
    ///
    /// Unless the predecessor stopped cleanly, the Services that it may have been about to give an address are fenced
    /// first. The Services themselves show which those are; see `fencing`.
    pub fn lead(&mut self, clean: bool, offer: Option<&str>, fence: &str) {
        self.leading = true;
        self.repairs.begin(self.now, self.time);
        self.announcing.begin();
        self.restart_external();
        self.fencing.begin(fence, Offer::read(offer), self.now);
        for service in self.services.iter().filter(|_| !clean) {
            let may_write = needs_fence(service);
            if may_write || may_have_been_served(service) {
                self.fencing.open(service.name.clone(), named_addresses(service), may_write);
            }
        }
        self.fencing.opened();
        self.hold_back();
        self.offers.begin();
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

    /// Has the address table give last what a late write of the predecessor could give.
    fn hold_back(&mut self) {
        self.addresses.hold_back(match self.fencing.offer() {
            Offer::These(addresses) => {
                let named = self.fencing.named().map(AddressRange::from);
                AddressSet::new(addresses.ranges().iter().copied().chain(named))
            }
            // There is nothing else to give.
            Offer::Anything => AddressSet::default(),
        });
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
        self.hold_back();
        self.offers.end();
        self.unanswered = Unanswered::default();
        self.announcing.end();
        self.events.clear();
        self.external.clear(self.groups.table());
        for name in self.services.stop_writing() {
            self.update_addresses(&name);
        }
    }

    /// The fence of a Service is answered, or the Service is gone.
    pub(super) fn close_fence(&mut self, name: &ServiceName) {
        let was_active = self.fencing.is_active();
        let mut freed = self.fencing.close(name);
        if !freed.is_empty() {
            freed.insert(name.clone());
        }
        self.fences_changed(was_active, &freed);
    }

    /// The fence of a Service had no answer in time.
    pub fn fence_unanswered(&mut self, name: &ServiceName) {
        self.fencing.unanswered(name);
    }

    /// Time has passed: fences may be due once more, or over.
    pub(super) fn check_fences(&mut self) {
        let was_active = self.fencing.is_active();
        let freed = self.fencing.passed(self.now);
        self.fences_changed(was_active, &freed);
    }

    /// Services waited for what late writes could give: they are planned in the order of their age.
    fn fences_changed(&mut self, were_active: bool, freed: &BTreeSet<ServiceName>) {
        if were_active && !self.fencing.is_active() {
            self.hold_back();
            self.offers.narrow();
        }
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
