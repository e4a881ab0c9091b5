//! The ServiceGroups: which pool an address comes from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::{Announce, Group, GroupError, Ipam, Pool, ServiceGroup, Unreadable, Watched};
use thiserror::Error;

/// Why a group is not used as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GroupProblem {
    /// This build cannot read it. Its last readable form stays in force.
    #[error("{0}; its last readable form stays in force")]
    Unreadable(#[from] Unreadable),
    /// It is wrong.
    #[error(transparent)]
    Invalid(#[from] GroupError),
}

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
    /// When the group cannot be used. An earlier form of it is removed if the group is wrong, and stays if this build
    /// cannot read it.
    pub fn apply(&mut self, object: &Watched<ServiceGroup>) -> Result<bool, GroupProblem> {
        let (_, name) = object.id();
        match Group::new(&name, &object.spec()?) {
            Ok(group) => {
                let changed = self.groups.get(&name) != Some(&group);
                self.groups.insert(name, group);
                Ok(changed)
            }
            Err(error) => {
                self.groups.remove(&name);
                Err(error.into())
            }
        }
    }

    /// Removes a group.
    pub fn remove(&mut self, name: &str) {
        self.groups.remove(name);
    }

    /// Whether an IPAM sidecar gives the addresses of the group of this name.
    #[must_use]
    pub fn is_external(&self, name: &str) -> bool {
        self.groups.get(name).is_some_and(|group| matches!(group.ipam, Ipam::External { .. }))
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
    pub fn group(name: &str, kind: &str, range: &str, subnet: &str, aggregation: &str) -> Watched<ServiceGroup> {
        let field = if range.contains(':') { "v6pool" } else { "v4pool" };
        serde_json::from_value(json!({
            "apiVersion": "purelb.io/v2", "kind": "ServiceGroup", "metadata": {"name": name, "namespace": "purelb"},
            "spec": {kind: {field: {"pool": range, "subnet": subnet, "aggregation": aggregation}}}
        }))
        .unwrap()
    }

    /// All these groups.
    pub fn groups(all: &[Watched<ServiceGroup>]) -> Groups {
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
    fn case_96_a_group_that_cannot_be_read_keeps_its_last_readable_form() {
        let mut groups = groups(&[group("a", "remote", "192.0.2.0/24", "192.0.2.0/24", "/32")]);
        let newer = serde_json::json!({
            "metadata": {"name": "a", "namespace": "purelb"}, "spec": {"remote": {"v4pool": {"pool": ["192.0.2.0/25"]}}}
        });
        let problem = groups.apply(&serde_json::from_value(newer).unwrap()).unwrap_err();
        assert!(problem.to_string().contains("spec.remote.v4pool.pool"), "{problem}");
        assert!(groups.find("192.0.2.200".parse().unwrap()).is_some());
    }

    #[test]
    fn a_group_that_breaks_is_forgotten() {
        let mut groups = groups(&[group("a", "remote", "192.0.2.0/24", "192.0.2.0/24", "/32")]);
        assert!(groups.apply(&group("a", "remote", "192.0.2.0/24", "198.51.100.0/24", "/32")).is_err());
        assert!(groups.find("192.0.2.1".parse().unwrap()).is_none());
    }
}
