//! The ServiceGroups: which pool an address comes from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::{Announce, Group, GroupError, Pool, ServiceGroup};

/// The usable groups of the install namespace, by name.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<String, Group>,
}

impl Groups {
    /// Adds or replaces a group; returns whether anything changed.
    ///
    /// # Errors
    ///
    /// When the group cannot be used. An earlier form of it is removed then.
    pub fn apply(&mut self, object: &ServiceGroup) -> Result<bool, GroupError> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        match Group::new(name, &object.spec) {
            Ok(group) => {
                let changed = self.groups.get(name) != Some(&group);
                self.groups.insert(name.to_owned(), group);
                Ok(changed)
            }
            Err(error) => {
                self.groups.remove(name);
                Err(error)
            }
        }
    }

    /// Removes a group.
    pub fn remove(&mut self, name: &str) {
        self.groups.remove(name);
    }

    /// The names of all groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The group and the pool that contain the address. Local groups come first; groups of a kind are ordered
    /// by name (specification, announcing.md 8).
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<(&Group, &Pool)> {
        let by_kind = |kind: Announce| {
            let mut groups = self.groups.values().filter(move |group| group.announce == kind);
            groups.find_map(|group| group.pool_of(address).map(|pool| (group, pool)))
        };
        by_kind(Announce::Local).or_else(|| by_kind(Announce::SubnetOrRouted))
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Groups for tests.

    use serde_json::json;

    use super::*;

    /// A v2 group: `kind` is `local` or `remote`.
    pub fn group(name: &str, kind: &str, range: &str, subnet: &str, aggregation: &str) -> ServiceGroup {
        let field = if range.contains(':') { "v6pool" } else { "v4pool" };
        serde_json::from_value(json!({
            "apiVersion": "purelb.io/v2", "kind": "ServiceGroup", "metadata": {"name": name, "namespace": "purelb"},
            "spec": {kind: {field: {"pool": range, "subnet": subnet, "aggregation": aggregation}}}
        }))
        .unwrap()
    }

    /// All these groups.
    pub fn groups(all: &[ServiceGroup]) -> Groups {
        let mut groups = Groups::default();
        for group in all {
            groups.apply(group).unwrap();
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{group, groups};

    #[test]
    fn local_groups_come_first() {
        let groups = groups(&[
            group("a", "remote", "192.0.2.0/24", "192.0.2.0/24", "/32"),
            group("b", "local", "192.0.2.8/29", "192.0.2.0/24", "default"),
        ]);
        assert_eq!(groups.find("192.0.2.9".parse().unwrap()).unwrap().0.name, "b");
        assert_eq!(groups.find("192.0.2.99".parse().unwrap()).unwrap().0.name, "a");
        assert!(groups.find("198.51.100.1".parse().unwrap()).is_none());
    }

    #[test]
    fn a_group_that_breaks_is_forgotten() {
        let mut groups = groups(&[group("a", "remote", "192.0.2.0/24", "192.0.2.0/24", "/32")]);
        assert!(groups.apply(&group("a", "remote", "192.0.2.0/24", "198.51.100.0/24", "/32")).is_err());
        assert!(groups.find("192.0.2.1".parse().unwrap()).is_none());
    }
}
