//! The nodes that can answer for local addresses, known by their Leases (specification, api.md 9).
//!
//! Simple on purpose: a protocol between the agents takes over the question who is alive; what
//! stays are the subnets, and Leases as the fallback.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use api_types::lease;
use ipnetwork::IpNetwork;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use runtime::BootTime;

/// A peer whose Lease was not renewed for this long is dead, by the local clock since the last
/// renewal was seen: clocks of different nodes need not agree.
pub const LIVE: Duration = Duration::from_secs(10);
/// Without a renewal of our own for this long we may be the one who is cut off: nothing is
/// decided anew.
pub const STALE: Duration = Duration::from_secs(5);
/// A subnet counts as known this long after its last member left, so that its addresses do not
/// become remote while a node restarts.
pub const LINGER: Duration = Duration::from_secs(60);

/// What we keep of a Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseView {
    /// The node.
    pub node: String,
    /// Its subnets.
    pub subnets: Vec<IpNetwork>,
    /// Its last renewal by the node's own clock.
    pub renewed: Option<Timestamp>,
    /// How long it is valid after that.
    pub duration: Duration,
}

impl LeaseView {
    /// Reads a Lease; nothing if it is not an agent's.
    #[must_use]
    pub fn new(object: &Lease) -> Option<Self> {
        let spec = object.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        Some(Self {
            node: lease::node(object)?.to_owned(),
            subnets: lease::subnets(object),
            renewed: spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0),
            duration: Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        })
    }

    fn unexpired(&self, now: Timestamp) -> bool {
        self.renewed.is_some_and(|renewed| {
            Duration::try_from(now.duration_since(renewed)).unwrap_or(Duration::ZERO) < self.duration
        })
    }
}

#[derive(Debug)]
struct Member {
    view: LeaseView,
    /// When its Lease was last seen to change; nothing if it was expired when first seen.
    alive: Option<BootTime>,
}

/// All members but this node, and this node's own part.
#[derive(Debug)]
pub struct Members {
    node: String,
    subnets: Vec<IpNetwork>,
    renewed: Option<BootTime>,
    others: BTreeMap<String, Member>,
    left: BTreeMap<IpNetwork, BootTime>,
}

impl Members {
    /// Knows only this node, which has renewed nothing yet.
    #[must_use]
    pub fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            subnets: Vec::new(),
            renewed: None,
            others: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// The name of this node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Sets this node's own subnets; returns whether they changed.
    pub fn set_own_subnets(&mut self, subnets: Vec<IpNetwork>, now: BootTime) -> bool {
        if self.subnets == subnets {
            return false;
        }
        let before = std::mem::replace(&mut self.subnets, subnets);
        self.note_left(&before, now);
        true
    }

    /// This node's own subnets.
    #[must_use]
    pub fn own_subnets(&self) -> &[IpNetwork] {
        &self.subnets
    }

    /// This node's own Lease was renewed. After a time without renewals the others get a new
    /// period of grace: their renewals may have been lost on the same way.
    pub fn own_renewal(&mut self, now: BootTime) {
        if let Some(last) = self.renewed.filter(|last| now.since(*last) > STALE) {
            for member in self.others.values_mut() {
                if member.alive.is_some_and(|alive| last.since(alive) < LIVE) {
                    member.alive = Some(now);
                }
            }
        }
        self.renewed = Some(now);
    }

    /// Whether our own picture is current: our own Lease was renewed lately.
    #[must_use]
    pub fn is_current(&self, now: BootTime) -> bool {
        self.renewed.is_some_and(|renewed| now.since(renewed) <= STALE)
    }

    /// Takes a Lease over; returns whether members or subnets changed.
    pub fn apply(&mut self, view: LeaseView, now: BootTime, wall: Timestamp) -> bool {
        if view.node == self.node {
            return false;
        }
        let old = self.others.get(&view.node);
        let was_live = old.is_some_and(|old| is_live(old, now));
        let alive = match old {
            Some(old) if old.view.renewed == view.renewed => old.alive,
            Some(_) => Some(now),
            None => view.unexpired(wall).then_some(now),
        };
        let before = old.map(|old| old.view.subnets.clone());
        let changed =
            before.as_ref() != Some(&view.subnets) || was_live != alive.is_some_and(|at| now.since(at) < LIVE);
        self.others.insert(view.node.clone(), Member { view, alive });
        self.note_left(&before.unwrap_or_default(), now);
        changed
    }

    /// Forgets a Lease; returns whether there was one.
    pub fn remove(&mut self, node: &str, now: BootTime) -> bool {
        let Some(gone) = self.others.remove(node) else { return false };
        self.note_left(&gone.view.subnets, now);
        true
    }

    fn note_left(&mut self, before: &[IpNetwork], now: BootTime) {
        for network in before {
            if !self.advertised().any(|known| known == *network) {
                self.left.insert(*network, now);
            }
        }
    }

    /// The names of all other members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.others.keys().map(String::as_str)
    }

    /// Everybody who is alive and advertises a subnet with the address, this node included.
    pub fn candidates(&self, address: IpAddr, now: BootTime) -> impl Iterator<Item = &str> {
        let reaches = move |subnets: &[IpNetwork]| subnets.iter().any(|subnet| subnet.contains(address));
        let others = self.others.values().filter(move |member| is_live(member, now) && reaches(&member.view.subnets));
        let me = reaches(&self.subnets).then_some(self.node.as_str());
        others.map(|member| member.view.node.as_str()).chain(me)
    }

    /// Whether any known member, alive or not, advertises a subnet with the address, or did so
    /// within the last minute.
    #[must_use]
    pub fn know_subnet_of(&self, address: IpAddr, now: BootTime) -> bool {
        self.advertised().any(|subnet| subnet.contains(address))
            || self.left.iter().any(|(subnet, left)| now.since(*left) < LINGER && subnet.contains(address))
    }

    fn advertised(&self) -> impl Iterator<Item = IpNetwork> {
        self.others.values().flat_map(|member| member.view.subnets.iter()).chain(&self.subnets).copied()
    }

    /// The names of the live members, this node included, and the number of subnets they reach.
    #[must_use]
    pub fn live(&self, now: BootTime) -> (Vec<&str>, usize) {
        let live: Vec<_> = self.others.values().filter(|member| is_live(member, now)).collect();
        let subnets: std::collections::BTreeSet<_> =
            live.iter().flat_map(|member| &member.view.subnets).chain(&self.subnets).collect();
        let names = live.iter().map(|member| member.view.node.as_str()).chain([self.node.as_str()]).collect();
        (names, subnets.len())
    }

    /// Forgets what lingered long enough; returns whether anything was forgotten.
    pub fn expire(&mut self, now: BootTime) -> bool {
        let before = self.left.len();
        self.left.retain(|_, left| now.since(*left) < LINGER);
        before != self.left.len()
    }
}

fn is_live(member: &Member, now: BootTime) -> bool {
    member.alive.is_some_and(|alive| now.since(alive) < LIVE)
}

#[cfg(test)]
pub(crate) mod testing {
    //! Leases for tests.

    use super::*;

    /// The Lease of a node with these subnets, renewed at the given second.
    pub fn lease(node: &str, subnets: &[&str], renewed: i64) -> LeaseView {
        LeaseView {
            node: node.to_owned(),
            subnets: subnets.iter().map(|subnet| subnet.parse().unwrap()).collect(),
            renewed: Some(Timestamp::from_second(renewed).unwrap()),
            duration: LIVE,
        }
    }

    /// A point in time.
    pub fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    /// A wall clock reading.
    pub fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{at, lease, wall};
    use super::*;

    const NET: &[&str] = &["192.0.2.0/24"];

    fn candidates(members: &Members, now: u64) -> Vec<&str> {
        members.candidates("192.0.2.9".parse().unwrap(), at(now)).collect()
    }

    #[test]
    fn alive_is_who_was_seen_to_renew() {
        let mut members = Members::new("me");
        assert!(members.apply(lease("a", NET, 1000), at(5), wall(1005)));
        assert!(members.apply(lease("b", NET, 900), at(5), wall(1005)));
        assert_eq!(candidates(&members, 5), ["a"]);
        // The clock of node b is far behind, but its Lease moves.
        assert!(members.apply(lease("b", NET, 903), at(8), wall(1008)));
        assert_eq!(candidates(&members, 8), ["a", "b"]);
        assert!(!members.apply(lease("b", NET, 906), at(11), wall(1011)));
        assert_eq!(candidates(&members, 15), ["b"]);
        assert_eq!(candidates(&members, 21), Vec::<&str>::new());
        members.set_own_subnets(vec!["192.0.2.0/24".parse().unwrap()], at(21));
        assert_eq!(candidates(&members, 21), ["me"]);
    }

    #[test]
    fn an_outage_kills_nobody() {
        let mut members = Members::new("me");
        members.apply(lease("a", NET, 1000), at(0), wall(1000));
        members.own_renewal(at(0));
        assert!(members.is_current(at(5)));
        assert!(!members.is_current(at(6)));
        members.own_renewal(at(100));
        assert!(members.is_current(at(100)));
        assert_eq!(candidates(&members, 100), ["a"]);
        assert!(candidates(&members, 110).is_empty());
    }

    #[test]
    fn who_was_dead_before_the_outage_stays_dead() {
        let mut members = Members::new("me");
        members.apply(lease("a", NET, 1000), at(0), wall(1000));
        members.own_renewal(at(20));
        members.own_renewal(at(100));
        assert!(candidates(&members, 100).is_empty());
    }

    #[test]
    fn a_subnet_lingers_for_a_minute() {
        let mut members = Members::new("me");
        let address = "192.0.2.9".parse().unwrap();
        assert!(!members.know_subnet_of(address, at(0)));
        members.apply(lease("a", NET, 100), at(0), wall(1000));
        // Dead, but its Lease is there: the cluster still has the subnet.
        assert!(members.know_subnet_of(address, at(500)));
        members.remove("a", at(500));
        assert!(members.know_subnet_of(address, at(559)));
        assert!(!members.know_subnet_of(address, at(560)));
        assert!(members.expire(at(560)) && !members.expire(at(561)));
    }
}
