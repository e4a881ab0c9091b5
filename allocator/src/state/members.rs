//! The members: what is known of the agents from their Leases (specification, api.md 9).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api_types::lease::{self, Inactive, RouterReport};
use ipnetwork::IpNetwork;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use runtime::BootTime;

/// One member, by its Lease.
#[derive(Debug, Clone, PartialEq)]
struct Member {
    subnets: Vec<IpNetwork>,
    own_addresses: Vec<IpAddr>,
    gateways: Vec<IpAddr>,
    /// Its routers.
    routers: Vec<RouterReport>,
    /// Why its agent announces nothing.
    inactive: Option<Inactive>,
    duration: Duration,
    renewed: Option<Timestamp>,
    /// When the last renewal was seen, by our clock: clocks of nodes are not compared. `None` if the Lease had run out
    /// when it was seen first, and was not renewed since.
    seen: Option<BootTime>,
    /// Whether it was alive when that was looked at last.
    alive: bool,
}

impl Member {
    fn is_alive(&self, now: BootTime) -> bool {
        self.seen.is_some_and(|seen| now.since(seen) <= self.duration)
    }
}

/// All members.
#[derive(Debug, Default)]
pub(super) struct Members {
    members: BTreeMap<String, Member>,
    listed: bool,
}

impl Members {
    /// A Lease was added or changed. Leases that no agent keeps are ignored. The time of day, `wall`, decides whether a
    /// Lease that is seen for the first time has run out: agents renew rarely, and leave their Lease behind. Returns whether
    /// it says anything new.
    pub(super) fn apply(&mut self, lease: &Lease, now: BootTime, wall: Timestamp) -> bool {
        let Some(node) = lease::node(lease) else { return false };
        let spec = lease.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or(10);
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let renewed = spec.and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let seen = match self.members.get(node) {
            Some(known) if known.renewed == renewed => known.seen,
            Some(_) => Some(now),
            None => renewed.filter(|renewed| age(*renewed, wall) <= duration).map(|_| now),
        };
        let mut member = Member {
            subnets: lease::subnets(lease),
            own_addresses: lease::own_addresses(lease),
            gateways: lease::gateways(lease),
            routers: lease::routers(lease),
            inactive: lease::inactive(lease),
            duration,
            renewed,
            seen,
            alive: false,
        };
        member.alive = member.is_alive(now);
        let says = |member: &Member| (member.subnets.clone(), member.routers.clone(), member.inactive, member.alive);
        let after = says(&member);
        self.members.insert(node.to_owned(), member).is_none_or(|before| says(&before) != after)
    }

    /// A Lease was deleted.
    pub(super) fn delete(&mut self, lease: &Lease) {
        if let Some(node) = lease::node(lease) {
            self.members.remove(node);
        }
    }

    /// The complete list of Leases.
    pub(super) fn reset(&mut self, leases: &[Lease], now: BootTime, wall: Timestamp) {
        let listed: BTreeSet<&str> = leases.iter().filter_map(lease::node).collect();
        self.members.retain(|node, _| listed.contains(node.as_str()));
        for lease in leases {
            self.apply(lease, now, wall);
        }
        self.listed = true;
    }

    /// Whether the Leases have been read at all.
    pub(super) const fn are_known(&self) -> bool {
        self.listed
    }

    /// The nodes of all Leases.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// All members: node, whether the agent renews its Lease, why it announces nothing, and its subnets.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, bool, Option<Inactive>, &[IpNetwork])> {
        self.members
            .iter()
            .map(|(node, member)| (node.as_str(), member.alive, member.inactive, member.subnets.as_slice()))
    }

    /// Time has passed. Returns the nodes whose Lease has run out since, or is kept again.
    pub(super) fn expire(&mut self, now: BootTime) -> Vec<String> {
        let mut changed = Vec::new();
        for (node, member) in &mut self.members {
            let alive = member.is_alive(now);
            if std::mem::replace(&mut member.alive, alive) != alive {
                changed.push(node.clone());
            }
        }
        changed
    }

    /// Whether the agent of the node has renewed its Lease within its duration.
    pub(super) fn is_alive(&self, node: &str, now: BootTime) -> bool {
        self.members.get(node).is_some_and(|member| member.is_alive(now))
    }

    /// Whether any agent renews its Lease.
    pub(super) fn is_any_alive(&self) -> bool {
        self.members.values().any(|member| member.alive)
    }

    /// The subnets of all members whose Lease was renewed within its duration.
    pub(super) fn subnets(&self) -> BTreeSet<IpNetwork> {
        self.members.values().filter(|member| member.alive).flat_map(|member| member.subnets.iter().copied()).collect()
    }

    /// What the agents that are alive report of their routers: node and router.
    pub(super) fn routers(&self) -> impl Iterator<Item = (&str, &RouterReport)> {
        let alive = self.members.iter().filter(|(_, member)| member.alive);
        alive.flat_map(|(node, member)| member.routers.iter().map(move |report| (node.as_str(), report)))
    }

    /// The node's own addresses and its gateways. A node that exists keeps them although its Lease has run out.
    pub(super) fn reserved(&self, node: &str, exists: bool) -> (&[IpAddr], &[IpAddr]) {
        let member = self.members.get(node).filter(|member| exists || member.alive);
        member.map_or((&[], &[]), |member| (&member.own_addresses, &member.gateways))
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

    fn alive(members: &mut Members, now: BootTime) -> BTreeSet<IpNetwork> {
        members.expire(now);
        members.subnets()
    }

    #[test]
    fn a_lease_counts_as_long_as_it_is_renewed() {
        let mut leases = Members::default();
        leases.apply(&lease("a", 1000, "192.0.2.0/24", 10), at(0), wall(1000));
        leases.apply(&lease("b", 1005, "192.0.2.0/24,198.51.100.0/24", 10), at(5), wall(1005));
        assert_eq!(alive(&mut leases, at(10)).len(), 2);
        // Seen again in a new list, but not renewed.
        let list = [lease("a", 1012, "192.0.2.0/24", 10), lease("b", 1005, "198.51.100.0/24", 10)];
        leases.reset(&list, at(12), wall(1012));
        assert_eq!(alive(&mut leases, at(16)).len(), 1);
        leases.delete(&list[0]);
        assert!(alive(&mut leases, at(16)).is_empty());
    }

    #[test]
    fn agents_renew_once_a_minute() {
        let mut leases = Members::default();
        for minute in 0..5 {
            leases.apply(
                &lease("a", 60 * minute, "192.0.2.0/24", 180),
                at(minute.unsigned_abs() * 60),
                wall(60 * minute),
            );
            assert_eq!(alive(&mut leases, at(minute.unsigned_abs() * 60 + 66)).len(), 1);
        }
        assert_eq!(alive(&mut leases, at(240 + 180)).len(), 1);
        assert!(alive(&mut leases, at(240 + 181)).is_empty());
    }

    #[test]
    fn a_lease_left_behind_does_not_count_when_we_start() {
        let mut leases = Members::default();
        let list = [
            lease("gone", 1000, "192.0.2.0/24", 180),
            lease("there", 1100, "198.51.100.0/24", 180),
            lease("ahead", 9999, "203.0.113.0/24", 180),
        ];
        leases.reset(&list, at(5), wall(1200));
        assert_eq!(
            alive(&mut leases, at(6)),
            ["198.51.100.0/24", "203.0.113.0/24"].map(|net| net.parse().unwrap()).into()
        );
        // Its clock is behind, but it lives.
        leases.apply(&lease("gone", 1060, "192.0.2.0/24", 180), at(65), wall(1260));
        assert_eq!(alive(&mut leases, at(66)).len(), 3);
    }

    #[test]
    fn a_lease_that_has_run_out_keeps_its_addresses_while_its_node_exists() {
        let mut members = Members::default();
        let mut lease = lease("a", 1000, "192.0.2.0/24", 10);
        let annotations = lease.metadata.annotations.as_mut().unwrap();
        annotations.insert(lease::OWN_ADDRESSES.to_owned(), "192.0.2.12".to_owned());
        annotations.insert(lease::GATEWAYS.to_owned(), "192.0.2.1".to_owned());
        members.apply(&lease, at(0), wall(1000));
        let both: (&[IpAddr], &[IpAddr]) = (&["192.0.2.12".parse().unwrap()], &["192.0.2.1".parse().unwrap()]);
        assert_eq!(members.reserved("a", false), both);
        assert_eq!((members.expire(at(11)), members.expire(at(12))), (vec!["a".to_owned()], Vec::new()));
        assert_eq!((members.reserved("a", true), members.reserved("a", false).0.len()), (both, 0));
    }
}
