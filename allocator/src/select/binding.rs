//! Which namespaces are bound to which groups (specification, allocation.md 3.1).

use std::collections::{BTreeMap, BTreeSet};

use crate::groups::Table;

#[derive(Debug, Clone, PartialEq, Eq, std::default::Default)]
struct Namespace {
    /// The groups that list it, sorted by name.
    eligible: Vec<String>,
    /// Those of them that are marked as its default.
    marked: Vec<String>,
    enforcing: bool,
}

/// The default group of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Default<'a> {
    /// No group lists the namespace.
    Unbound,
    /// This one.
    Group(&'a str),
    /// Several groups list it and not exactly one is marked; the text says which.
    Ambiguous(String),
}

/// The bindings of all accepted groups.
#[derive(Debug, Clone, PartialEq, Eq, std::default::Default)]
pub struct Bindings {
    namespaces: BTreeMap<String, Namespace>,
    confined: BTreeSet<String>,
}

impl Bindings {
    /// Reads them from the table, whose groups come sorted by name.
    #[must_use]
    pub fn new(table: &Table) -> Self {
        let mut namespaces: BTreeMap<String, Namespace> = BTreeMap::new();
        for (_, group) in table.accepted() {
            let listed: BTreeSet<&String> = group.binding.namespaces.iter().collect();
            for name in listed {
                let namespace = namespaces.entry(name.clone()).or_default();
                namespace.eligible.push(group.name.clone());
                namespace.enforcing |= group.binding.enforce;
                if group.binding.default {
                    namespace.marked.push(group.name.clone());
                }
            }
        }
        // A group is confined by any enforcing namespace that it serves, whatever it says itself.
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
    pub fn default_of(&self, namespace: &str) -> Default<'_> {
        let Some(namespace) = self.namespaces.get(namespace) else { return Default::Unbound };
        match (namespace.eligible.as_slice(), namespace.marked.as_slice()) {
            ([only], _) | (_, [only]) => Default::Group(only),
            (eligible, []) => {
                Default::Ambiguous(format!("of its groups {}, none sets namespaceDefault", eligible.join(", ")))
            }
            (eligible, marked) => Default::Ambiguous(format!(
                "of its groups {}, these all set namespaceDefault: {}",
                eligible.join(", "),
                marked.join(", ")
            )),
        }
    }
}
