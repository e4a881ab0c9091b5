//! Which ServiceGroups are in force.
//!
//! Groups must not share addresses or names. Allocator and agents ask this module which of two such groups counts, so
//! that a refused group has no effect anywhere. The group in force stays: an edit or a new group never takes addresses
//! away from it. Only among groups that were never in force the older one wins, then the first by name
//! (specification, allocation.md 2).

use std::collections::BTreeMap;
use std::net::IpAddr;

use thiserror::Error;

use crate::group::{Group, Ipam, Pool};
use crate::names::group_condition::{READY, ready_reason};
use crate::service_group::ServiceGroupStatus;

/// Namespace and name of a ServiceGroup.
pub type GroupId = (String, String);

/// What a group's status says of its being in force; the order in which groups come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is in force as it stands.
    Current,
    /// It was in force before its last edit.
    Edited,
    /// Nothing is known of it.
    New,
    /// The allocator refuses it as it stands, for a reason that only the allocator can see.
    Refused,
}

impl Standing {
    /// Reads it from the status of a group whose specification has this generation.
    #[must_use]
    pub fn of(status: Option<&ServiceGroupStatus>, generation: Option<i64>) -> Self {
        let ready = status.and_then(|status| status.conditions.iter().find(|condition| condition.type_ == READY));
        let Some(ready) = ready else { return Self::New };
        let is_accepted = ready.status == "True" || ready_reason::OF_ACCEPTED.contains(&ready.reason.as_str());
        let is_current = generation.is_some() && ready.observed_generation == generation;
        match (is_accepted, is_current) {
            (true, true) => Self::Current,
            (true, false) => Self::Edited,
            (false, true) if ready.reason == ready_reason::OVERLAPS_SERVICE_CIDR => Self::Refused,
            (false, _) => Self::New,
        }
    }
}

/// A valid group that may come into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// Its namespace and name.
    pub id: GroupId,
    /// What its status says.
    pub standing: Standing,
    /// When it was created, in seconds since the epoch.
    pub created: i64,
    /// The group.
    pub group: Group,
}

impl Contender {
    /// The order in which groups come into force.
    fn rank(&self) -> (Standing, i64, &str, &str) {
        (self.standing, self.created, &self.id.1, &self.id.0)
    }
}

/// Why a valid group is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotInForce {
    /// It shares addresses with a group that is in force.
    #[error(
        "range {ours} overlaps with an already defined pool: {theirs} of group {other}, which stays in force; change one of the two"
    )]
    Overlap {
        /// The range of this group, as written.
        ours: String,
        /// The range of the other group, as written.
        theirs: String,
        /// Namespace and name of the other group.
        other: String,
    },
    /// A group of this name in another namespace is in force.
    #[error("duplicate definition: group {0} has the same name and stays in force; rename one of them")]
    Duplicate(String),
}

/// The groups in force. Their names are unique and their ranges disjoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupsInForce {
    by_name: BTreeMap<String, (GroupId, Group)>,
    /// For the first address of each range: the group and the index of the range in it.
    by_first: BTreeMap<IpAddr, (String, usize)>,
    refused: BTreeMap<GroupId, NotInForce>,
}

impl GroupsInForce {
    /// Checks the groups against each other. Those whose standing is [`Standing::Refused`] are left out.
    #[must_use]
    pub fn new(mut contenders: Vec<Contender>) -> Self {
        contenders.retain(|contender| contender.standing != Standing::Refused);
        contenders.sort_by(|one, other| one.rank().cmp(&other.rank()));
        let mut groups = Self::default();
        for Contender { id, group, .. } in contenders {
            match groups.check(&group) {
                Ok(()) => groups.add(id, group),
                Err(refused) => _ = groups.refused.insert(id, refused),
            }
        }
        groups
    }

    fn check(&self, group: &Group) -> Result<(), NotInForce> {
        if let Some((id, _)) = self.by_name.get(&group.name) {
            return Err(NotInForce::Duplicate(text(id)));
        }
        for ours in &group.pools {
            // The ranges are disjoint: only the last one that begins before our end can overlap.
            let (_, before) = self.by_first.range(..=ours.range.last()).next_back().unzip();
            if let Some((id, _, theirs)) = before.and_then(|before| self.pool_at(before))
                && theirs.range.overlaps(ours.range)
            {
                let (ours, theirs) = (ours.text.clone(), theirs.text.clone());
                return Err(NotInForce::Overlap { ours, theirs, other: text(id) });
            }
        }
        Ok(())
    }

    fn add(&mut self, id: GroupId, group: Group) {
        for (index, pool) in group.pools.iter().enumerate() {
            self.by_first.insert(pool.range.first(), (group.name.clone(), index));
        }
        self.by_name.insert(group.name.clone(), (id, group));
    }

    fn pool_at(&self, (group, index): &(String, usize)) -> Option<(&GroupId, &Group, &Pool)> {
        let (id, group) = self.by_name.get(group)?;
        Some((id, group, group.pools.get(*index)?))
    }

    /// The group of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Group> {
        self.by_name.get(name).map(|(_, group)| group)
    }

    /// The id of the group of this name.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<&GroupId> {
        self.by_name.get(name).map(|(id, _)| id)
    }

    /// All groups in force, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.by_name.values().map(|(id, group)| (id, group))
    }

    /// The valid groups that are not in force.
    pub fn refused(&self) -> impl Iterator<Item = (&GroupId, &NotInForce)> {
        self.refused.iter()
    }

    /// The group that holds the address, and its pool. O(log n).
    #[must_use]
    pub fn group_of(&self, address: IpAddr) -> Option<(&Group, &Pool)> {
        let (_, before) = self.by_first.range(..=address).next_back()?;
        let (_, group, pool) = self.pool_at(before)?;
        pool.range.contains(address).then_some((group, pool))
    }

    /// Whether an IPAM sidecar gives the addresses of the group of this name.
    #[must_use]
    pub fn is_external(&self, name: &str) -> bool {
        self.get(name).is_some_and(|group| matches!(group.ipam, Ipam::External { .. }))
    }
}

fn text((namespace, name): &GroupId) -> String {
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn contender(name: &str, range: &str, created: i64, standing: Standing) -> Contender {
        let spec = json!({"local": {"v4pool": {"pool": range, "subnet": "10.0.0.0/8"}}});
        let group = Group::new(name, &serde_json::from_value(spec).unwrap()).unwrap();
        Contender { id: ("purelb".to_owned(), name.to_owned()), standing, created, group }
    }

    fn in_force(contenders: Vec<Contender>) -> Vec<String> {
        GroupsInForce::new(contenders).iter().map(|((_, name), _)| name.clone()).collect()
    }

    #[test]
    fn the_older_of_two_new_groups_wins_and_then_the_first_by_name() {
        let (one, same) = ("10.1.0.0/24", "10.1.0.10-10.1.0.20");
        assert_eq!(
            in_force(vec![contender("a", one, 9, Standing::New), contender("b", same, 8, Standing::New)]),
            ["b"]
        );
        assert_eq!(
            in_force(vec![contender("b", one, 8, Standing::New), contender("a", same, 8, Standing::New)]),
            ["a"]
        );
    }

    #[test]
    fn case_65_the_group_in_force_stays_whatever_its_age_and_its_name() {
        let (one, same) = ("10.1.0.0/24", "10.1.0.10-10.1.0.20");
        for standing in [Standing::Edited, Standing::New] {
            let groups = GroupsInForce::new(vec![
                contender("backup", one, 1, standing),
                contender("default", same, 9, Standing::Current),
            ]);
            assert!(groups.get("default").is_some());
            let (_, refused) = groups.refused().next().unwrap();
            assert!(refused.to_string().contains("purelb/default"), "{refused}");
        }
        assert_eq!(
            in_force(vec![contender("new", one, 1, Standing::New), contender("edited", same, 9, Standing::Edited)]),
            ["edited"]
        );
    }

    #[test]
    fn a_group_that_the_allocator_refuses_is_left_out() {
        assert!(in_force(vec![contender("a", "10.1.0.0/24", 1, Standing::Refused)]).is_empty());
    }

    #[test]
    fn what_a_status_says() {
        let of = |status: &str, reason: &str, seen: i64| {
            let ready = Condition {
                type_: READY.to_owned(),
                status: status.to_owned(),
                reason: reason.to_owned(),
                message: String::new(),
                observed_generation: Some(seen),
                last_transition_time: Time(Timestamp::UNIX_EPOCH),
            };
            Standing::of(Some(&ServiceGroupStatus { conditions: vec![ready], ..Default::default() }), Some(2))
        };
        assert_eq!(of("True", "Accepted", 2), Standing::Current);
        assert_eq!(of("True", "Accepted", 1), Standing::Edited);
        // A silent sidecar does not make a group give way.
        assert_eq!(of("False", "SidecarUnavailable", 2), Standing::Current);
        assert_eq!(of("False", "OverlappingGroups", 2), Standing::New);
        assert_eq!(of("False", "OverlapsServiceCIDR", 2), Standing::Refused);
        assert_eq!(of("False", "OverlapsServiceCIDR", 1), Standing::New);
        assert_eq!(Standing::of(None, Some(2)), Standing::New);
    }

    #[test]
    fn an_address_is_found_in_its_range() {
        let groups = GroupsInForce::new(vec![
            contender("a", "10.1.0.0/28", 1, Standing::New),
            contender("b", "10.2.0.0/28", 1, Standing::New),
        ]);
        let name = |address: &str| groups.group_of(address.parse().unwrap()).map(|(group, _)| group.name.as_str());
        assert_eq!((name("10.2.0.15"), name("10.1.0.0"), name("10.1.0.16")), (Some("b"), Some("a"), None));
    }
}
