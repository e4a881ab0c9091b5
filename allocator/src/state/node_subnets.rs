//! The subnets of the nodes that are alive, from the agents' Leases (specification, api.md 9).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api_types::lease;
use ipnetwork::IpNetwork;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use runtime::BootTime;

/// One member, by its Lease.
#[derive(Debug, Clone, PartialEq)]
struct Member {
    subnets: Vec<IpNetwork>,
    duration: Duration,
    renewed: Option<Timestamp>,
    /// When the last renewal was seen, by our clock: clocks of nodes are not compared. `None` if the Lease had run out
    /// when it was seen first, and was not renewed since.
    seen: Option<BootTime>,
}

/// The subnets of all members.
#[derive(Debug, Default)]
pub struct NodeSubnets {
    members: BTreeMap<String, Member>,
}

impl NodeSubnets {
    /// A Lease was added or changed. Leases that no agent keeps are ignored. The time of day, `wall`, decides whether a
    /// Lease that is seen for the first time has run out: agents renew rarely, and leave their Lease behind.
    pub fn apply(&mut self, lease: &Lease, now: BootTime, wall: Timestamp) {
        let Some(node) = lease::node(lease) else { return };
        let spec = lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(10);
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let seen = match self.members.get(node) {
            Some(known) if known.renewed == renewed => known.seen,
            Some(_) => Some(now),
            None => renewed.filter(|renewed| age(*renewed, wall) <= duration).map(|_| now),
        };
        self.members.insert(node.to_owned(), Member { subnets: lease::subnets(lease), duration, renewed, seen });
    }

    /// A Lease was deleted.
    pub fn delete(&mut self, lease: &Lease) {
        if let Some(node) = lease::node(lease) {
            self.members.remove(node);
        }
    }

    /// The complete list of Leases.
    pub fn reset(&mut self, leases: &[Lease], now: BootTime, wall: Timestamp) {
        let listed: BTreeSet<&str> = leases.iter().filter_map(lease::node).collect();
        self.members.retain(|node, _| listed.contains(node.as_str()));
        for lease in leases {
            self.apply(lease, now, wall);
        }
    }

    /// The subnets of all members whose Lease was renewed within its duration.
    #[must_use]
    pub fn alive(&self, now: BootTime) -> BTreeSet<IpNetwork> {
        let alive =
            self.members.values().filter(|member| member.seen.is_some_and(|seen| now.since(seen) <= member.duration));
        alive.flat_map(|member| member.subnets.iter().copied()).collect()
    }
}

/// How long ago the renewal was. Zero if a clock ahead of ours puts it into the future.
fn age(renewed: Timestamp, wall: Timestamp) -> Duration {
    Duration::try_from(wall.duration_since(renewed)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    fn lease(node: &str, renewed: i64, subnets: &str, seconds: i32) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.name = Some(lease::name(node));
        lease.metadata.annotations = Some([(lease::SUBNETS.to_owned(), subnets.to_owned())].into());
        lease.spec = Some(LeaseSpec {
            lease_duration_seconds: Some(seconds),
            renew_time: Some(MicroTime(wall(renewed))),
            ..LeaseSpec::default()
        });
        lease
    }

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    fn wall(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_lease_counts_as_long_as_it_is_renewed() {
        let mut leases = NodeSubnets::default();
        leases.apply(&lease("a", 1000, "192.0.2.0/24", 10), at(0), wall(1000));
        leases.apply(&lease("b", 1005, "192.0.2.0/24,198.51.100.0/24", 10), at(5), wall(1005));
        assert_eq!(leases.alive(at(10)).len(), 2);
        // Seen again in a new list, but not renewed.
        let list = [lease("a", 1012, "192.0.2.0/24", 10), lease("b", 1005, "198.51.100.0/24", 10)];
        leases.reset(&list, at(12), wall(1012));
        assert_eq!(leases.alive(at(16)).len(), 1);
        leases.delete(&list[0]);
        assert!(leases.alive(at(16)).is_empty());
    }

    #[test]
    fn agents_renew_once_a_minute() {
        let mut leases = NodeSubnets::default();
        for minute in 0..5 {
            leases.apply(
                &lease("a", 60 * minute, "192.0.2.0/24", 180),
                at(minute.unsigned_abs() * 60),
                wall(60 * minute),
            );
            assert_eq!(leases.alive(at(minute.unsigned_abs() * 60 + 66)).len(), 1);
        }
        assert_eq!(leases.alive(at(240 + 180)).len(), 1);
        assert!(leases.alive(at(240 + 181)).is_empty());
    }

    #[test]
    fn a_lease_left_behind_does_not_count_when_we_start() {
        let mut leases = NodeSubnets::default();
        let list = [
            lease("gone", 1000, "192.0.2.0/24", 180),
            lease("there", 1100, "198.51.100.0/24", 180),
            lease("ahead", 9999, "203.0.113.0/24", 180),
        ];
        leases.reset(&list, at(5), wall(1200));
        assert_eq!(leases.alive(at(6)), ["198.51.100.0/24", "203.0.113.0/24"].map(|net| net.parse().unwrap()).into());
        // Its clock is behind, but it lives.
        leases.apply(&lease("gone", 1060, "192.0.2.0/24", 180), at(65), wall(1260));
        assert_eq!(leases.alive(at(66)).len(), 3);
    }
}
