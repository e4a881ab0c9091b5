//! The writes of a new leader that void late writes of its predecessor.
//!
//! A write names the resource version that it was made for. After an unclean takeover, a write of the predecessor may
//! still be on its way. The new leader therefore writes to each Service that the predecessor may have been about to give
//! an address to: the resource version changes, and the late write fails.
//!
//! Until such a fence is answered, what the late write could give stays reserved; see
//! [`LateWrites`](crate::addresses::LateWrites). Services that need none of it are served meanwhile, from the other end of
//! the ranges if they are of the same group, so that an API server that takes long to answer does not stop everybody.
//! Which groups may serve a Service is known only if they have not changed for some time: the predecessor may have seen
//! others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::addresses::{LateWrites, MayGet};
use crate::model::{Scope, Service, ServiceName};

/// For how long the groups must not have changed, so that the predecessor knew the same. A write that was prepared
/// before that has been refused, or has arrived.
pub(super) const GROUPS_SETTLED: Duration = crate::addresses::FREED_MEMORY;
/// The most fences in flight. What is left of the writes in flight is for Services that need no fence.
const IN_FLIGHT: usize = 48;
/// How many waiting Services are planned again when one fence is answered: that may free one address.
const AGAIN: usize = 2;

/// The order of the fences: first those that keep most back, or are soon over.
type Turn = (bool, usize, ServiceName);

/// The fences of the present term.
#[derive(Debug, Default)]
pub(super) struct Fencing {
    /// The value to write. It differs from that of any other term of any process.
    value: String,
    /// The Services whose fence is not answered yet.
    open: BTreeMap<ServiceName, (MayGet, Turn)>,
    in_order: BTreeSet<Turn>,
    in_flight: BTreeSet<ServiceName>,
    /// What they could get.
    late: LateWrites,
    /// Services that wait for what is reserved, in the order in which they are planned again.
    waiting: VecDeque<ServiceName>,
    waits: BTreeSet<ServiceName>,
}

impl Fencing {
    /// A term begins with these Services to fence.
    pub(super) fn begin(&mut self, value: &str, services: BTreeMap<ServiceName, MayGet>) {
        *self = Self { value: value.to_owned(), ..Self::default() };
        for may_get in services.values() {
            self.late.add(may_get);
        }
        for (name, may_get) in services {
            let of_group = |group: &String| self.late.of_group(group);
            let others = may_get.groups.iter().map(of_group).max().unwrap_or_default();
            let turn = (!may_get.any_of_groups, others, name.clone());
            self.in_order.insert(turn.clone());
            self.open.insert(name, (may_get, turn));
        }
    }

    /// The term is over.
    pub(super) fn end(&mut self) {
        *self = Self { value: std::mem::take(&mut self.value), ..Self::default() };
    }

    /// The value of the annotation `leader-fence` in this term.
    pub(super) fn value(&self) -> &str {
        &self.value
    }

    /// Whether a fence is not answered yet.
    pub(super) fn is_active(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether the fence of the Service is not answered yet.
    pub(super) fn is_open(&self, name: &ServiceName) -> bool {
        self.open.contains_key(name)
    }

    /// The Services whose fence is not answered yet.
    pub(super) fn open(&self) -> impl Iterator<Item = &ServiceName> {
        self.open.keys()
    }

    /// What late writes could give.
    pub(super) const fn late(&self) -> &LateWrites {
        &self.late
    }

    /// The next Services to fence, if another fence may be sent now.
    pub(super) fn unsent(&self) -> impl Iterator<Item = &ServiceName> {
        let room = self.in_flight.len() < IN_FLIGHT;
        let in_order = self.in_order.iter().map(|(_, _, name)| name);
        in_order.filter(move |name| room && !self.in_flight.contains(*name))
    }

    /// The fence of the Service is sent.
    pub(super) fn sent(&mut self, name: &ServiceName) {
        self.in_flight.insert(name.clone());
    }

    /// The Service waits until what it would gain is not reserved any more. It is then [freed](Self::close).
    pub(super) fn wait(&mut self, name: &ServiceName) {
        if self.waits.insert(name.clone()) {
            self.waiting.push_back(name.clone());
        }
    }

    /// The fence of a Service is answered, or the Service is gone. Returns Services that waited for it.
    pub(super) fn close(&mut self, name: &ServiceName) -> BTreeSet<ServiceName> {
        self.in_flight.remove(name);
        let Some((may_get, turn)) = self.open.remove(name) else { return BTreeSet::new() };
        self.in_order.remove(&turn);
        let over = self.late.remove(&may_get) || self.open.is_empty();
        let count = if over { self.waiting.len() } else { AGAIN.min(self.waiting.len()) };
        let freed: BTreeSet<ServiceName> = self.waiting.drain(..count).collect();
        for name in &freed {
            self.waits.remove(name);
        }
        freed
    }
}

/// Whether a new leader must fence the Service.
pub(super) fn needs_fence(service: &Service) -> bool {
    expects_address(service) || service.written.leader_fence
}

/// Whether the Service shows by itself that it may be about to get an address.
///
/// One that does not is marked with `leader-fence` before it gets an address. A new leader knows only the Service:
/// groups, nodes and other Services may have changed since the predecessor planned.
pub(super) fn expects_address(service: &Service) -> bool {
    let takes_more = service.scope == Scope::Ours && !service.deleting && service.requested.multi_pool == Some(true);
    takes_more || service.is_waiting()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::Taken;

    fn name(name: &str) -> ServiceName {
        ServiceName::new("shop", name)
    }

    fn of(group: &str) -> MayGet {
        MayGet { groups: [group.to_owned()].into(), ..MayGet::default() }
    }

    #[test]
    fn case_67_fences_that_keep_most_back_or_are_soon_over_are_sent_first() {
        let pinned = MayGet { addresses: [[192, 0, 2, 9].into()].into(), ..MayGet::default() };
        let marked = MayGet { any_of_groups: true, ..of("large") };
        let mut all: BTreeMap<_, _> = (0..100).map(|number| (name(&format!("a{number:02}")), of("large"))).collect();
        all.extend([(name("x"), of("small")), (name("y"), pinned), (name("z"), marked)]);
        let mut fencing = Fencing::default();
        fencing.begin("f", all);
        let first: Vec<ServiceName> = fencing.unsent().take(4).cloned().collect();
        assert_eq!(first, ["z", "y", "x", "a00"].map(name));
        for _ in 0..IN_FLIGHT {
            let next = fencing.unsent().next().cloned().unwrap();
            fencing.sent(&next);
        }
        assert!(fencing.unsent().next().is_none());
        assert_eq!(fencing.late().taken_of("large"), Taken::Anything);
        fencing.close(&name("z"));
        assert!(matches!(fencing.late().taken_of("large"), Taken::Lowest(_)));
        assert!(fencing.unsent().next().is_some());
    }

    #[test]
    fn who_waits_is_planned_again_one_after_the_other_and_all_when_it_is_over() {
        let mut fencing = Fencing::default();
        fencing.begin("f", (0..3).map(|number| (name(&number.to_string()), of("x"))).collect());
        for number in 0..10 {
            fencing.wait(&name(&format!("w{number}")));
            fencing.wait(&name(&format!("w{number}")));
        }
        let first = fencing.close(&name("0"));
        assert_eq!(first, [name("w0"), name("w1")].into());
        fencing.wait(&name("w0"));
        assert_eq!(fencing.close(&name("1")), [name("w2"), name("w3")].into());
        assert_eq!(fencing.close(&name("2")).len(), 7);
        assert!(!fencing.is_active() && fencing.close(&name("2")).is_empty());
    }
}
