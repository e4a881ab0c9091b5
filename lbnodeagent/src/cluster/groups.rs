//! The ServiceGroups: which pool an address comes from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::{
    Announce, Contender, Group, GroupError, GroupsInForce, Pool, ServiceGroup, Standing, Unreadable, Watched,
};
use ipnetwork::IpNetwork;
use kube::Resource;
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

/// The groups of the install namespace.
#[derive(Debug, Default)]
pub struct Groups {
    /// The valid ones, by name.
    valid: BTreeMap<String, Contender>,
    in_force: GroupsInForce,
}

impl Groups {
    /// Adds or replaces a group; returns whether this changes which groups are in force.
    ///
    /// # Errors
    ///
    /// When the group cannot be used. An earlier form of it is removed if the group is wrong, and stays if this build
    /// cannot read it.
    pub fn apply(&mut self, object: &Watched<ServiceGroup>) -> Result<bool, GroupProblem> {
        let id = object.id();
        let name = id.1.clone();
        match Group::new(&name, &object.spec()?) {
            Ok(group) => {
                let standing = Standing::of(object.status().as_ref(), object.meta().generation);
                let created = object.meta().creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second());
                self.valid.insert(name, Contender { id, standing, created, group });
                Ok(self.choose())
            }
            Err(error) => {
                self.remove(&name);
                Err(error.into())
            }
        }
    }

    /// Removes a group.
    pub fn remove(&mut self, name: &str) {
        if self.valid.remove(name).is_some() {
            self.choose();
        }
    }

    fn choose(&mut self) -> bool {
        let in_force = GroupsInForce::new(self.valid.values().cloned().collect());
        let changed = in_force != self.in_force;
        self.in_force = in_force;
        changed
    }

    /// Whether an IPAM sidecar gives the addresses of the group of this name.
    #[must_use]
    pub fn is_external(&self, name: &str) -> bool {
        self.in_force.is_external(name)
    }

    /// The names of all valid groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.valid.keys().map(String::as_str)
    }

    /// A route for each pool whose addresses nodes announce by routing, with the subnet of the pool.
    #[must_use]
    pub fn routed(&self) -> Vec<(IpNetwork, IpNetwork)> {
        let remote = self.valid.values().map(|valid| &valid.group).filter(|group| group.announce != Announce::Local);
        let route = |pool: &Pool| Some((IpNetwork::new(pool.range.first(), pool.prefix_len()).ok()?, pool.subnet));
        remote.flat_map(|group| &group.pools).filter_map(route).collect()
    }

    /// The group in force that has the address in a range, and the pool.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<(&Group, &Pool)> {
        self.in_force.group_of(address)
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
    fn case_65_a_refused_group_has_no_effect() {
        let groups = groups(&[
            group("a", "remote", "192.0.2.0/24", "192.0.2.0/24", "/32"),
            group("zz-copy", "local", "192.0.2.8/29", "192.0.2.0/24", "default"),
        ]);
        assert_eq!(groups.find("192.0.2.9".parse().unwrap()).unwrap().0.name, "a");
        assert!(groups.find("198.51.100.1".parse().unwrap()).is_none());
    }

    #[test]
    fn case_65_the_group_in_force_stays_when_an_older_one_is_edited() {
        let of = |name: &str, range: &str, status: &str, seen: i64| {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "namespace": "purelb", "generation": 2},
                "spec": {"remote": {"v4pool": {"pool": range, "subnet": "192.0.2.0/24", "aggregation": "/32"}}},
                "status": {"allocatedIPv4": 0, "allocatedIPv6": 0, "conditions": [{
                    "type": "Ready", "status": status, "reason": "Accepted", "message": "", "observedGeneration": seen,
                    "lastTransitionTime": "2026-01-01T00:00:00Z"
                }]}
            }))
            .unwrap()
        };
        let groups = groups(&[of("a-edited", "192.0.2.0/24", "True", 1), of("b-in-force", "192.0.2.8/29", "True", 2)]);
        assert_eq!(groups.find("192.0.2.9".parse().unwrap()).unwrap().0.name, "b-in-force");
        assert!(groups.find("192.0.2.99".parse().unwrap()).is_none());
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
