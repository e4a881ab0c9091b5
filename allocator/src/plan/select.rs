//! Which groups may serve a Service (specification, allocation.md 3).

use api_types::names::DEFAULT_GROUP;
use api_types::{Family, Group};
use thiserror::Error;

use crate::model::{GroupTable, NamespaceBindings, NamespaceDefault};

/// Why no group serves a Service. Users' tools match on the words before the colon.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Denied {
    /// No accepted group has the name.
    #[error(
        "unknown pool {0:?}: no ServiceGroup of this name is in use; create it, or correct the annotation purelb.io/service-group"
    )]
    Unknown(String),
    /// There is a group of the name, but it is refused.
    #[error("unknown pool {name:?}: the ServiceGroup is refused ({why})")]
    Refused {
        /// Its name.
        name: String,
        /// Why.
        why: String,
    },
    /// The group is confined to other namespaces.
    #[error(
        "namespace denied: group {group:?} serves only the namespaces that it lists, and {namespace:?} is not one of them"
    )]
    Confined {
        /// The group.
        group: String,
        /// The namespace of the Service.
        namespace: String,
    },
    /// The namespace is confined to other groups.
    #[error("namespace denied: namespace {namespace:?} may use only {eligible}, not {group:?}")]
    Enforced {
        /// The group.
        group: String,
        /// The namespace of the Service.
        namespace: String,
        /// The groups that it may use.
        eligible: String,
    },
    /// Several groups serve the namespace and none is the default.
    #[error(
        "ambiguous namespace default: {0}; name one in the annotation purelb.io/service-group, or set namespaceDefault in exactly one"
    )]
    Ambiguous(String),
}

impl Denied {
    /// The value of the label `reason` of `purelb_address_pool_allocation_rejected_total`.
    #[must_use]
    pub const fn metric(&self) -> &'static str {
        match self {
            Self::Unknown(_) | Self::Refused { .. } => "unknown_pool",
            Self::Confined { .. } | Self::Enforced { .. } => "namespace_denied",
            Self::Ambiguous(_) => "ambiguous_namespace_default",
        }
    }
}

/// The groups that may serve a Service, in order of preference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection<'a> {
    /// At least one.
    pub groups: Vec<&'a Group>,
    /// A problem that does not prevent the allocation.
    pub warning: Option<String>,
}

impl<'a> Selection<'a> {
    /// The first group that has addresses of the family.
    #[must_use]
    pub fn for_family(&self, family: Family) -> Option<&'a Group> {
        self.groups.iter().copied().find(|group| group.serves(family))
    }

    /// The names of all groups, for people.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<String> = self.groups.iter().map(|group| format!("{:?}", group.name)).collect();
        names.join(", ")
    }
}

/// Selects the groups for a Service in a namespace; `annotation` is `purelb.io/service-group`.
///
/// # Errors
/// The reason why none serves it. One bad name refuses the whole list, so that a typing error does not pass for a missing
/// family.
pub fn select_groups<'a>(
    groups: &'a GroupTable,
    bindings: &NamespaceBindings,
    namespace: &str,
    annotation: Option<&str>,
) -> Result<Selection<'a>, Denied> {
    if let Some(list) = annotation {
        let mut names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            names.push("");
        }
        let selected =
            names.into_iter().map(|name| group_for(groups, bindings, namespace, name)).collect::<Result<_, _>>()?;
        return Ok(Selection { groups: selected, warning: None });
    }
    let mut warning = None;
    let name = match bindings.default_of(namespace) {
        NamespaceDefault::Group(name) => name,
        NamespaceDefault::Ambiguous(why) if bindings.is_enforcing(namespace) => return Err(Denied::Ambiguous(why)),
        NamespaceDefault::Ambiguous(why) => {
            warning =
                Some(format!("namespace {namespace:?} has no default group ({why}): group {DEFAULT_GROUP:?} is used"));
            DEFAULT_GROUP
        }
        NamespaceDefault::Unbound => DEFAULT_GROUP,
    };
    Ok(Selection { groups: vec![group_for(groups, bindings, namespace, name)?], warning })
}

/// The group of this name, if it may serve the namespace.
///
/// # Errors
/// The reason why not.
fn group_for<'a>(
    groups: &'a GroupTable,
    bindings: &NamespaceBindings,
    namespace: &str,
    name: &str,
) -> Result<&'a Group, Denied> {
    let Some(group) = groups.get(name) else {
        let refused = groups.refused().find(|((_, refused), _)| refused == name);
        return Err(match refused {
            Some((_, why)) => Denied::Refused { name: name.to_owned(), why: why.to_string() },
            None => Denied::Unknown(name.to_owned()),
        });
    };
    check_namespace(bindings, namespace, group)?;
    Ok(group)
}

/// Whether the group may serve the namespace (specification, allocation.md 3.2).
///
/// # Errors
/// The reason why not.
pub(super) fn check_namespace(bindings: &NamespaceBindings, namespace: &str, group: &Group) -> Result<(), Denied> {
    let listed = group.binding.lists(namespace);
    if bindings.is_confined(&group.name) && !listed && !group.binding.namespaces.is_empty() {
        return Err(Denied::Confined { group: group.name.clone(), namespace: namespace.to_owned() });
    }
    if bindings.is_enforcing(namespace) && !listed {
        return Err(Denied::Enforced {
            group: group.name.clone(),
            namespace: namespace.to_owned(),
            eligible: bindings.eligible(namespace).join(", "),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
