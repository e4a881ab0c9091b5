//! The writes of a new leader that void late writes of its predecessor.
//!
//! A write names the resource version that it was made for. After an unclean takeover, a write of the predecessor may
//! still be on its way. The new leader therefore writes to each Service that the predecessor may have been about to give
//! an address to: the resource version changes, and the late write fails.
//!
//! Until such a fence is answered, what the late write could give is given to nobody else: the addresses that the Service
//! names, and those of the predecessor's [offer](super::offers). Services that need none of these are served meanwhile,
//! so that an API server that takes long to answer the fences does not stop all others. After ten minutes no late write
//! can arrive any more: the API server and everything between close a connection on which nothing comes through long
//! before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use runtime::BootTime;

use super::offers::Offer;
use crate::model::{Scope, Service, ServiceName};

/// For how long after its leader has given it up a write may arrive.
pub const LATEST_ARRIVAL: Duration = Duration::from_secs(600);
/// The most fences in flight. What is left of the writes in flight is for Services that need no fence.
const IN_FLIGHT: usize = 48;
/// The pause before a fence is sent again that was refused, or a longer one if many were: the time for each of them.
const REFUSED_AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_millis(200));

/// The fences of the present term.
#[derive(Debug, Default)]
pub(super) struct Fencing {
    /// The value to write. It differs from that of any other term of any process.
    value: String,
    began: BootTime,
    /// The Services whose fence is not answered yet, with the addresses that they name.
    open: BTreeMap<ServiceName, Vec<IpAddr>>,
    /// Those of them whose fence is to be sent.
    unsent: VecDeque<ServiceName>,
    in_flight: BTreeSet<ServiceName>,
    /// Those of them whose fence was refused, by the time at which it is sent again.
    refused: BTreeSet<(BootTime, ServiceName)>,
    /// How many of them name the address.
    named: BTreeMap<IpAddr, usize>,
    /// What the predecessor may have been about to give to any of them.
    offer: Offer,
    /// Services that wait for what is held back: for an address that another one names, or for all fences.
    waiting: BTreeMap<Option<IpAddr>, BTreeSet<ServiceName>>,
}

impl Fencing {
    /// A term begins in which the predecessor's offer was this.
    pub(super) fn begin(&mut self, value: &str, offer: Offer, now: BootTime) {
        *self = Self { value: value.to_owned(), began: now, offer, ..Self::default() };
    }

    /// A late write may give the Service an address, of these if it names any. It is fenced if we may write to it.
    pub(super) fn open(&mut self, name: ServiceName, named: Vec<IpAddr>, may_write: bool) {
        for address in &named {
            *self.named.entry(*address).or_default() += 1;
        }
        if may_write {
            self.unsent.push_back(name.clone());
        }
        self.open.insert(name, named);
    }

    /// All are opened.
    pub(super) fn opened(&mut self) {
        if self.open.is_empty() {
            self.offer = Offer::default();
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

    /// The addresses that Services name whose fences are not answered.
    pub(super) fn named(&self) -> impl Iterator<Item = IpAddr> {
        self.named.keys().copied()
    }

    /// What the predecessor may have been about to give, as long as a fence is not answered.
    pub(super) const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The next Service to fence, if another fence may be sent now. It is sent, or [put off](Self::put_off).
    pub(super) fn next(&mut self) -> Option<ServiceName> {
        if self.in_flight.len() >= IN_FLIGHT {
            return None;
        }
        while let Some(name) = self.unsent.pop_front() {
            if self.open.contains_key(&name) {
                return Some(name);
            }
        }
        None
    }

    /// The fence of the Service is sent.
    pub(super) fn sent(&mut self, name: &ServiceName) {
        self.in_flight.insert(name.clone());
    }

    /// The fence of the Service had no answer in time. It is sent again, and others meanwhile.
    pub(super) fn unanswered(&mut self, name: &ServiceName) {
        self.in_flight.remove(name);
    }

    /// The fence of the Service could not be sent, or was refused: it is sent again later.
    pub(super) fn put_off(&mut self, name: &ServiceName, now: BootTime) {
        self.in_flight.remove(name);
        if self.is_open(name) {
            let (pause, each) = REFUSED_AGAIN;
            let number = u32::try_from(self.refused.len()).unwrap_or(u32::MAX);
            self.refused.insert((now + pause.max(each.saturating_mul(number)), name.clone()));
        }
    }

    /// Time has passed: fences that were put off are due, or all of them are over. Returns the Services that waited for
    /// these.
    pub(super) fn passed(&mut self, now: BootTime) -> BTreeSet<ServiceName> {
        if self.is_active() && now.since(self.began) >= LATEST_ARRIVAL {
            let mut freed: BTreeSet<ServiceName> = std::mem::take(&mut self.open).into_keys().collect();
            freed.extend(std::mem::take(&mut self.waiting).into_values().flatten());
            self.end();
            return freed;
        }
        while let Some((due, name)) = self.refused.pop_first() {
            if due > now {
                self.refused.insert((due, name));
                break;
            }
            self.unsent.push_back(name);
        }
        BTreeSet::new()
    }

    /// Whether a late write could give another Service an address that this one would gain. The Service is then
    /// [freed](Self::close) when that is over.
    pub(super) fn withholds(&mut self, name: &ServiceName, mut gains: impl Iterator<Item = IpAddr>) -> bool {
        let reason = if self.is_open(name) {
            Some(None)
        } else {
            gains.find_map(|address| match (self.offer.contains(address), self.named.contains_key(&address)) {
                (true, _) => Some(None),
                (false, true) => Some(Some(address)),
                (false, false) => None,
            })
        };
        let Some(reason) = reason else { return false };
        self.waiting.entry(reason).or_default().insert(name.clone());
        true
    }

    /// The fence of a Service is answered, or the Service is gone. Returns Services that waited for it.
    pub(super) fn close(&mut self, name: &ServiceName) -> BTreeSet<ServiceName> {
        self.in_flight.remove(name);
        let Some(named) = self.open.remove(name) else { return BTreeSet::new() };
        let released = named.iter().filter(|address| release(&mut self.named, address)).copied().map(Some);
        let mut over: Vec<Option<IpAddr>> = released.collect();
        if self.open.is_empty() {
            self.offer = Offer::default();
            over.push(None);
        }
        over.iter().filter_map(|reason| self.waiting.remove(reason)).flatten().collect()
    }
}

/// One Service less names the address. Returns whether none is left.
fn release(counts: &mut BTreeMap<IpAddr, usize>, address: &IpAddr) -> bool {
    let Some(count) = counts.get_mut(address) else { return false };
    *count -= 1;
    let over = *count == 0;
    if over {
        counts.remove(address);
    }
    over
}

/// Whether a new leader must fence the Service.
pub(super) fn needs_fence(service: &Service) -> bool {
    expects_address(service) || service.written.leader_fence || service.written.asked_of.is_some()
}

/// Whether the predecessor may have been about to serve a Service that is not ours to write to: whether Services without a
/// class are ours is a setting, and depends on what the predecessor knew.
pub(super) fn may_have_been_served(service: &Service) -> bool {
    service.scope == Scope::NoClass && service.addresses.is_empty() && !service.deleting
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

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn at(seconds: u64) -> BootTime {
        BootTime::default() + Duration::from_secs(seconds)
    }

    fn fencing(services: &[(&str, &[u8])], offer: &str) -> Fencing {
        let mut fencing = Fencing::default();
        let named = |named: &[u8]| named.iter().map(|last| address(*last)).collect();
        fencing.begin("f", Offer::read(Some(offer)), at(0));
        for (service, addresses) in services {
            fencing.open(name(service), named(addresses), true);
        }
        fencing.opened();
        fencing
    }

    #[test]
    fn others_wait_for_what_a_late_write_could_give_and_for_nothing_else() {
        let mut fencing = fencing(&[("a", &[]), ("b", &[]), ("c", &[9])], "192.0.2.1-192.0.2.4");
        let mut withheld = |who: &str, last| fencing.withholds(&name(who), [address(last)].into_iter());
        assert!(withheld("new", 4) && !withheld("other", 5));
        assert!(withheld("pinned", 9) && withheld("a", 5));
        assert!(!fencing.withholds(&name("at-rest"), std::iter::empty()));
        assert!(fencing.close(&name("a")).is_empty());
        assert_eq!(fencing.close(&name("c")), [name("pinned")].into());
        assert!(!fencing.withholds(&name("pinned"), [address(9)].into_iter()));
        assert!(fencing.withholds(&name("new"), [address(1)].into_iter()));
        assert_eq!(fencing.close(&name("b")), [name("a"), name("new")].into());
        assert!(!fencing.is_active() && !fencing.withholds(&name("new"), [address(1)].into_iter()));
    }

    #[test]
    fn without_an_offer_everything_is_held_back() {
        let mut fencing = Fencing::default();
        fencing.begin("f", Offer::read(None), at(0));
        for number in 0..100 {
            fencing.open(name(&number.to_string()), Vec::new(), true);
        }
        assert!(fencing.withholds(&name("new"), [address(1)].into_iter()));
        for _ in 0..IN_FLIGHT {
            let next = fencing.next().unwrap();
            fencing.sent(&next);
        }
        assert_eq!(fencing.next(), None);
        // Those that have no answer keep no others back.
        fencing.unanswered(&name("0"));
        assert!(fencing.next().is_some_and(|next| next != name("0")));
    }

    #[test]
    fn a_service_that_we_may_not_write_to_is_held_open_without_a_fence() {
        let mut fencing = Fencing::default();
        fencing.begin("f", Offer::read(Some("192.0.2.1")), at(0));
        fencing.open(name("foreign"), Vec::new(), false);
        fencing.opened();
        assert_eq!(fencing.next(), None);
        assert!(fencing.withholds(&name("new"), [address(1)].into_iter()));
        assert_eq!(fencing.close(&name("foreign")), [name("new")].into());
    }

    #[test]
    fn a_fence_that_is_refused_stays_open_and_is_sent_again() {
        let mut fencing = fencing(&[("a", &[])], "192.0.2.1");
        let sent = fencing.next().unwrap();
        fencing.sent(&sent);
        fencing.put_off(&sent, at(1));
        assert!(fencing.withholds(&name("new"), [address(1)].into_iter()));
        assert!(fencing.passed(at(30)).is_empty() && fencing.next().is_none());
        assert!(fencing.passed(at(31)).is_empty());
        assert_eq!(fencing.next(), Some(sent));
        // No write is late for ever.
        assert_eq!(fencing.passed(at(600)), [name("a"), name("new")].into());
        assert!(!fencing.is_active() && !fencing.withholds(&name("new"), [address(1)].into_iter()));
    }
}
