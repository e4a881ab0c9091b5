//! The table of groups: which are accepted, which are refused and why, and which are out of scope.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::{AddressRange, Group, Pool};

use super::group::{GroupId, GroupObject, GroupRefusal};

/// All groups, checked against each other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupTable {
    /// By name. Names are unique among accepted groups.
    accepted: BTreeMap<String, (GroupId, Group)>,
    /// For the first address of each accepted range: the group and the index of the range in it.
    by_first: BTreeMap<IpAddr, (String, usize)>,
    refused: BTreeMap<GroupId, GroupRefusal>,
    out_of_scope: BTreeMap<GroupId, &'static str>,
}

impl GroupTable {
    /// Checks all objects, which come in the order of their ids.
    ///
    /// Only groups in the install namespace are used. If there are groups and none is in that namespace, the setting is
    /// taken as wrong and all groups are used (specification, allocation.md 2).
    #[must_use]
    pub fn new<'a>(
        objects: impl Iterator<Item = (&'a GroupId, &'a GroupObject)> + Clone,
        install_namespace: &str,
    ) -> Self {
        let scoped = objects.clone().any(|((namespace, _), _)| namespace == install_namespace);
        let mut table = Self::default();
        for (id, object) in objects {
            if scoped && id.0 != install_namespace {
                table.out_of_scope.insert(id.clone(), object.kind);
                continue;
            }
            match object.parsed.clone().and_then(|group| table.check(group)) {
                Ok(group) => table.accept(id, group),
                Err(refused) => _ = table.refused.insert(id.clone(), refused),
            }
        }
        table
    }

    fn accept(&mut self, id: &GroupId, group: Group) {
        for (index, pool) in group.pools.iter().enumerate() {
            self.by_first.insert(pool.range.first(), (group.name.clone(), index));
        }
        self.accepted.insert(group.name.clone(), (id.clone(), group));
    }

    fn check(&self, group: Group) -> Result<Group, GroupRefusal> {
        if let Some(((namespace, name), _)) = self.accepted.get(&group.name) {
            return Err(GroupRefusal::Duplicate(format!("{namespace}/{name}")));
        }
        for ours in &group.pools {
            // Accepted ranges are disjoint: only the last one that begins before our end can overlap.
            let (_, before) = self.by_first.range(..=ours.range.last()).next_back().unzip();
            if let Some(((namespace, name), _, theirs)) = before.and_then(|before| self.pool_at(before))
                && theirs.range.overlaps(ours.range)
            {
                return Err(GroupRefusal::Overlap {
                    ours: ours.text.clone(),
                    theirs: theirs.text.clone(),
                    other: format!("{namespace}/{name}"),
                });
            }
        }
        Ok(group)
    }

    /// An accepted group.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Group> {
        self.accepted.get(name).map(|(_, group)| group)
    }

    /// The id of an accepted group.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<&GroupId> {
        self.accepted.get(name).map(|(id, _)| id)
    }

    /// All accepted groups, by name.
    pub fn accepted(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.accepted.values().map(|(id, group)| (id, group))
    }

    /// All refused groups.
    pub fn refused(&self) -> impl Iterator<Item = (&GroupId, &GroupRefusal)> {
        self.refused.iter()
    }

    /// Why a group is refused.
    #[must_use]
    pub fn refusal(&self, id: &GroupId) -> Option<&GroupRefusal> {
        self.refused.get(id)
    }

    /// All groups outside the install namespace, with their kind.
    pub fn out_of_scope(&self) -> impl Iterator<Item = (&GroupId, &'static str)> {
        self.out_of_scope.iter().map(|(id, kind)| (id, *kind))
    }

    /// The ranges of all accepted groups.
    pub fn ranges(&self) -> impl Iterator<Item = AddressRange> {
        self.accepted().flat_map(|(_, group)| group.pools.iter().map(|pool| pool.range))
    }

    /// The group that holds the address, and its pool. O(log n).
    #[must_use]
    pub fn group_of(&self, address: IpAddr) -> Option<(&Group, &Pool)> {
        let (_, before) = self.by_first.range(..=address).next_back()?;
        let (_, group, pool) = self.pool_at(before)?;
        pool.range.contains(address).then_some((group, pool))
    }

    fn pool_at(&self, (group, index): &(String, usize)) -> Option<(&GroupId, &Group, &Pool)> {
        let (id, group) = self.accepted.get(group)?;
        Some((id, group, group.pools.get(*index)?))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::WatchedGroup;

    #[allow(clippy::needless_pass_by_value, reason = "calls read better without the reference")]
    pub(crate) fn object(namespace: &str, name: &str, spec: Value) -> GroupObject {
        let metadata = json!({"namespace": namespace, "name": name, "uid": format!("uid-{name}"), "generation": 1});
        let watched: WatchedGroup = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        watched.keep()
    }

    pub(crate) fn table(objects: Vec<GroupObject>) -> GroupTable {
        let objects: BTreeMap<GroupId, GroupObject> =
            objects.into_iter().map(|object| ((object.namespace.clone(), object.name.clone()), object)).collect();
        GroupTable::new(objects.iter(), "purelb")
    }

    fn v4(pool: &str) -> Value {
        json!({"local": {"v4pool": {"pool": pool, "subnet": "10.0.0.0/8"}}})
    }

    #[test]
    fn the_later_of_two_overlapping_groups_is_refused_also_when_nested() {
        let table = table(vec![
            object("purelb", "b-inside", v4("10.1.0.10-10.1.0.20")),
            object("purelb", "a-around", v4("10.1.0.0/16")),
            object("purelb", "c-around", v4("10.0.0.0/9")),
        ]);
        assert!(table.get("a-around").is_some());
        let refused: Vec<_> =
            table.refused().map(|((_, name), refused)| (name.as_str(), refused.to_string())).collect();
        assert_eq!(refused.len(), 2);
        assert!(
            refused[0].1.contains("overlaps with an already defined pool") && refused[0].1.contains("purelb/a-around")
        );
    }

    #[test]
    fn other_namespaces_are_out_of_scope_unless_all_are() {
        let elsewhere = || object("other", "x", v4("10.2.0.0/24"));
        let both = table(vec![elsewhere(), object("purelb", "y", v4("10.3.0.0/24"))]);
        assert!(both.get("x").is_none() && both.get("y").is_some());
        assert_eq!(both.out_of_scope().map(|(_, kind)| kind).collect::<Vec<_>>(), ["local"]);
        let alone = table(vec![elsewhere()]);
        assert!(alone.get("x").is_some());
        assert_eq!(alone.out_of_scope().count(), 0);
    }

    #[test]
    fn bad_groups_do_not_hurt_the_others() {
        let table =
            table(vec![object("purelb", "a", v4("10.1.0.9-10.1.0.1")), object("purelb", "b", v4("10.1.0.0/24"))]);
        assert_eq!(table.refusal(&("purelb".to_owned(), "a".to_owned())).unwrap().reason(), "InvalidRange");
        assert!(table.get("b").is_some());
    }
}
