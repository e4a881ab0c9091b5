//! The writes of a new leader that void late writes of its predecessor.
//!
//! A write names the resource version that it was made for. After an unclean takeover, a write of the predecessor may
//! still be on its way. The new leader therefore writes to each Service that the predecessor may have been about to give
//! an address to: the resource version changes, and the late write fails.
//!
//! Until such a fence is answered, what the late write could give stays reserved: the addresses that the Service names,
//! or else all free addresses of the groups that may serve it. Services that need none of these are served meanwhile, so
//! that an API server that takes long to answer the fences of one group does not stop all others. Which groups may serve
//! a Service is known only if they have not changed for some time: the predecessor may have seen others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::model::{Scope, Service, ServiceName};

/// For how long the groups must not have changed, so that the predecessor knew the same. A write that was prepared
/// before that has been refused, or has arrived.
pub(super) const GROUPS_SETTLED: Duration = Duration::from_secs(600);
/// The most fences in flight. What is left of the writes in flight is for Services that need no fence.
const IN_FLIGHT: usize = 48;

/// What a late write could give a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MayGet {
    /// Any free address.
    Anything,
    /// A free address of these groups, or one of them that it may share.
    Of(BTreeSet<String>),
    /// These addresses.
    These(BTreeSet<IpAddr>),
}

/// The fences of the present term.
#[derive(Debug, Default)]
pub(super) struct Fencing {
    /// The value to write. It differs from that of any other term of any process.
    value: String,
    /// The Services whose fence is not answered yet.
    open: BTreeMap<ServiceName, MayGet>,
    in_flight: BTreeSet<ServiceName>,
    /// How many of them could get anything.
    anything: usize,
    /// How many of them could get an address of the group.
    groups: BTreeMap<String, usize>,
    /// How many of them could get the address.
    addresses: BTreeMap<IpAddr, usize>,
    /// Services that wait for what is reserved.
    waiting: BTreeSet<ServiceName>,
}

impl Fencing {
    /// A term begins with these Services to fence.
    pub(super) fn begin(&mut self, value: &str, services: BTreeMap<ServiceName, MayGet>) {
        *self = Self { value: value.to_owned(), ..Self::default() };
        for may_get in services.values() {
            match may_get {
                MayGet::Anything => self.anything += 1,
                MayGet::Of(groups) => {
                    for group in groups {
                        *self.groups.entry(group.clone()).or_default() += 1;
                    }
                }
                MayGet::These(addresses) => {
                    for address in addresses {
                        *self.addresses.entry(*address).or_default() += 1;
                    }
                }
            }
        }
        self.open = services;
    }

    /// The predecessor knew other groups: one that has gone may have had the range of one that is new. So what it planned for
    /// Services may be any address.
    pub(super) fn groups_changed(&mut self) {
        self.anything = self.open.len();
        self.groups.clear();
        self.addresses.clear();
        self.open.values_mut().for_each(|may_get| *may_get = MayGet::Anything);
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

    /// The next Services to fence, if another fence may be sent now.
    pub(super) fn unsent(&self) -> impl Iterator<Item = &ServiceName> {
        let room = self.in_flight.len() < IN_FLIGHT;
        self.open.keys().filter(move |name| room && !self.in_flight.contains(*name))
    }

    /// The fence of the Service is sent.
    pub(super) fn sent(&mut self, name: &ServiceName) {
        self.in_flight.insert(name.clone());
    }

    /// Whether a late write could give another Service an address that this one would gain. `gains` are addresses with
    /// their groups. The Service is then [freed](Self::close) when that is over.
    pub(super) fn withholds<'a>(
        &mut self,
        name: &ServiceName,
        mut gains: impl Iterator<Item = (IpAddr, Option<&'a str>)>,
    ) -> bool {
        let is_reserved = |(address, group): (IpAddr, Option<&str>)| {
            self.anything > 0
                || self.addresses.contains_key(&address)
                || group.is_some_and(|group| self.groups.contains_key(group))
        };
        let withheld = self.is_open(name) || gains.any(is_reserved);
        if withheld {
            self.waiting.insert(name.clone());
        }
        withheld
    }

    /// The fence of a Service is answered, or the Service is gone. Returns Services that waited for it.
    pub(super) fn close(&mut self, name: &ServiceName) -> BTreeSet<ServiceName> {
        self.in_flight.remove(name);
        let over = match self.open.remove(name) {
            None => false,
            Some(MayGet::Anything) => {
                self.anything -= 1;
                self.anything == 0
            }
            Some(MayGet::Of(groups)) => {
                groups.iter().map(|group| release(&mut self.groups, group)).fold(false, |any, over| any | over)
            }
            Some(MayGet::These(addresses)) => addresses
                .iter()
                .map(|address| release(&mut self.addresses, address))
                .fold(false, |any, over| any | over),
        };
        let may_go_on = over || self.open.is_empty();
        if may_go_on { std::mem::take(&mut self.waiting) } else { BTreeSet::new() }
    }
}

/// One Service less could get this. Returns whether none is left.
fn release<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) -> bool {
    let Some(count) = counts.get_mut(key) else { return false };
    *count -= 1;
    let over = *count == 0;
    if over {
        counts.remove(key);
    }
    over
}

/// Whether a new leader must fence the Service.
pub(super) fn needs_fence(service: &Service) -> bool {
    expects_address(service) || service.written.leader_fence || service.written.asked_of.is_some()
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

    fn name(name: &str) -> ServiceName {
        ServiceName::new("shop", name)
    }

    fn of(group: &str) -> MayGet {
        MayGet::Of([group.to_owned()].into())
    }

    #[test]
    fn others_wait_for_what_a_late_write_could_give_and_for_nothing_else() {
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let mut fencing = Fencing::default();
        let pinned = MayGet::These([address(9)].into());
        fencing.begin("f", [(name("a"), of("x")), (name("b"), of("x")), (name("c"), pinned)].into());
        assert_eq!(fencing.unsent().count(), 3);
        let mut withheld = |who: &str, last, group| fencing.withholds(&name(who), [(address(last), group)].into_iter());
        assert!(withheld("new", 1, Some("x")) && !withheld("other", 1, Some("y")));
        assert!(withheld("pinned", 9, Some("y")) && withheld("a", 1, Some("y")));
        assert!(!fencing.withholds(&name("at-rest"), std::iter::empty()));
        fencing.sent(&name("c"));
        assert_eq!(fencing.unsent().count(), 2);
        assert!(fencing.close(&name("a")).is_empty());
        assert_eq!(fencing.close(&name("c")).len(), 3);
        assert!(!fencing.withholds(&name("pinned"), [(address(9), Some("y"))].into_iter()));
        assert!(fencing.withholds(&name("new"), [(address(1), Some("x"))].into_iter()));
        assert_eq!(fencing.close(&name("b")), [name("new")].into());
        assert!(!fencing.is_active() && !fencing.withholds(&name("new"), [(address(1), Some("x"))].into_iter()));
    }

    #[test]
    fn a_group_under_another_name_may_have_the_range_of_a_late_write() {
        let mut fencing = Fencing::default();
        fencing.begin("f", [(name("a"), of("x")), (name("b"), of("x"))].into());
        let gain = |group| [(IpAddr::from([192, 0, 2, 1]), Some(group))].into_iter();
        assert!(!fencing.withholds(&name("new"), gain("y")));
        fencing.groups_changed();
        assert!(fencing.withholds(&name("new"), gain("y")));
        assert!(fencing.close(&name("a")).is_empty());
        assert_eq!(fencing.close(&name("b")), [name("new")].into());
        assert!(!fencing.withholds(&name("new"), gain("y")));
    }

    #[test]
    fn if_the_groups_were_others_everything_is_reserved() {
        let mut fencing = Fencing::default();
        fencing.begin("f", (0..100).map(|number| (name(&number.to_string()), MayGet::Anything)).collect());
        assert!(fencing.withholds(&name("new"), [(IpAddr::from([192, 0, 2, 1]), None)].into_iter()));
        for number in 0..IN_FLIGHT {
            assert!(fencing.unsent().next().is_some());
            fencing.sent(&name(&number.to_string()));
        }
        assert!(fencing.unsent().next().is_none());
    }
}
