//! The table of groups: which are in force, which are refused and why, and which are out of scope.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::{AddressRange, Contender, Group, GroupId, GroupsInForce, Pool, Standing};

use super::group::{GroupObject, GroupRefusal};
use super::service_networks::ServiceNetworks;

/// All groups, checked against each other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupTable {
    in_force: GroupsInForce,
    refused: BTreeMap<GroupId, GroupRefusal>,
    out_of_scope: BTreeMap<GroupId, &'static str>,
    /// The namespace whose groups are used.
    namespace: String,
}

/// What the choice of the groups in force depends on besides the groups.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// The namespace whose groups are used.
    pub namespace: &'a str,
    /// The networks of cluster IPs.
    pub networks: &'a ServiceNetworks,
    /// Whether Services have addresses of the group.
    pub is_in_use: &'a dyn Fn(&Group) -> bool,
    /// What is known of the group's being in force.
    pub standing: &'a dyn Fn(&GroupId, &GroupObject) -> Standing,
}

impl GroupTable {
    /// Checks all objects.
    ///
    /// Only groups in the install namespace are used. If there are groups and none is in that namespace, the setting is
    /// taken as wrong and all groups are used (specification, allocation.md 2).
    ///
    /// A group that overlaps a network of cluster IPs is refused, unless it is in use: what works is not taken away.
    #[must_use]
    pub fn new<'a>(
        objects: impl Iterator<Item = (&'a GroupId, &'a GroupObject)> + Clone,
        circumstances: Circumstances<'_>,
    ) -> Self {
        let namespace = circumstances.namespace;
        let scoped = objects.clone().any(|((found, _), _)| found == namespace);
        let mut table = Self { namespace: namespace.to_owned(), ..Self::default() };
        let mut contenders = Vec::new();
        for (id, object) in objects {
            if scoped && id.0 != namespace {
                table.out_of_scope.insert(id.clone(), object.kind);
                continue;
            }
            match object.parsed.clone().and_then(|group| check_networks(group, circumstances)) {
                Ok(group) => {
                    let standing = (circumstances.standing)(id, object);
                    contenders.push(Contender { id: id.clone(), standing, created: object.created, group });
                }
                Err(refused) => _ = table.refused.insert(id.clone(), refused),
            }
        }
        table.in_force = GroupsInForce::new(contenders);
        let others = table.in_force.refused().map(|(id, why)| (id.clone(), why.clone().into()));
        table.refused.extend(others);
        table
    }

    /// A group that is in force.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Group> {
        self.in_force.get(name)
    }

    /// The id of a group that is in force.
    #[must_use]
    pub fn id_of(&self, name: &str) -> Option<&GroupId> {
        self.in_force.id_of(name)
    }

    /// All groups in force, by name.
    pub fn accepted(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.in_force.iter()
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

    /// The namespace whose groups are used.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The ranges of all groups in force.
    pub fn ranges(&self) -> impl Iterator<Item = AddressRange> {
        self.accepted().flat_map(|(_, group)| group.pools.iter().map(|pool| pool.range))
    }

    /// The group that holds the address, and its pool. O(log n).
    #[must_use]
    pub fn group_of(&self, address: IpAddr) -> Option<(&Group, &Pool)> {
        self.in_force.group_of(address)
    }
}

fn check_networks(group: Group, circumstances: Circumstances<'_>) -> Result<Group, GroupRefusal> {
    match circumstances.networks.overlap(&group) {
        Some((pool, name, network)) if !(circumstances.is_in_use)(&group) => {
            Err(GroupRefusal::ServiceNetwork { range: pool.text.clone(), network, name: name.to_owned() })
        }
        _ => Ok(group),
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
        GroupObject::new(&watched)
    }

    pub(crate) fn table(objects: Vec<GroupObject>) -> GroupTable {
        let objects: BTreeMap<GroupId, GroupObject> =
            objects.into_iter().map(|object| ((object.namespace.clone(), object.name.clone()), object)).collect();
        let circumstances = Circumstances {
            namespace: "purelb",
            networks: &ServiceNetworks::default(),
            is_in_use: &|_| false,
            standing: &|_, _| Standing::New,
        };
        GroupTable::new(objects.iter(), circumstances)
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
