//! Which namespaces are bound to which groups (specification, allocation.md 3.1).

use std::collections::{BTreeMap, BTreeSet};

use super::group_table::GroupTable;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Namespace {
    /// The groups that list it, sorted by name.
    eligible: Vec<String>,
    /// Those of them that set `namespaceDefault`.
    defaults: Vec<String>,
    enforcing: bool,
}

/// The default group of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceDefault<'a> {
    /// No group lists the namespace.
    Unbound,
    /// The only eligible group, or the only one that sets `namespaceDefault`.
    Group(&'a str),
    /// Several groups list the namespace and not exactly one sets `namespaceDefault`. The text names them.
    Ambiguous(String),
}

/// The bindings of all accepted groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespaceBindings {
    namespaces: BTreeMap<String, Namespace>,
    confined: BTreeSet<String>,
}

impl NamespaceBindings {
    /// Reads the bindings from the table, whose groups come sorted by name.
    #[must_use]
    pub fn new(table: &GroupTable) -> Self {
        let mut namespaces: BTreeMap<String, Namespace> = BTreeMap::new();
        for (_, group) in table.accepted() {
            let listed: BTreeSet<&String> = group.binding.namespaces.iter().collect();
            for name in listed {
                let namespace = namespaces.entry(name.clone()).or_default();
                namespace.eligible.push(group.name.clone());
                namespace.enforcing |= group.binding.enforce;
                if group.binding.default {
                    namespace.defaults.push(group.name.clone());
                }
            }
        }
        // One enforcing namespace confines every group that lists it, whatever the group itself says.
        let enforcing = namespaces.values().filter(|namespace| namespace.enforcing);
        let confined = enforcing.flat_map(|namespace| namespace.eligible.iter().cloned()).collect();
        Self { namespaces, confined }
    }

    /// The groups that list the namespace.
    #[must_use]
    pub fn eligible(&self, namespace: &str) -> &[String] {
        self.namespaces.get(namespace).map_or(&[], |namespace| &namespace.eligible)
    }

    /// Whether Services of the namespace may use only groups that list it.
    #[must_use]
    pub fn is_enforcing(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| namespace.enforcing)
    }

    /// Whether the group serves only namespaces that it lists.
    #[must_use]
    pub fn is_confined(&self, group: &str) -> bool {
        self.confined.contains(group)
    }

    /// The default group of the namespace.
    #[must_use]
    pub fn default_of(&self, namespace: &str) -> NamespaceDefault<'_> {
        let Some(namespace) = self.namespaces.get(namespace) else { return NamespaceDefault::Unbound };
        match (namespace.eligible.as_slice(), namespace.defaults.as_slice()) {
            ([only], _) | (_, [only]) => NamespaceDefault::Group(only),
            (eligible, []) => NamespaceDefault::Ambiguous(format!(
                "of its groups {}, none sets namespaceDefault",
                eligible.join(", ")
            )),
            (eligible, defaults) => NamespaceDefault::Ambiguous(format!(
                "of its groups {}, these all set namespaceDefault: {}",
                eligible.join(", "),
                defaults.join(", ")
            )),
        }
    }
}
