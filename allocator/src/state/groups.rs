//! The ServiceGroups and the table made of them.

use std::collections::{BTreeMap, BTreeSet};

use api_types::names::group_condition::READY;
use api_types::names::reason;
use api_types::{Group, Pool, Standing};
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::ObjectReference;

use crate::model::{Circumstances, GroupId, GroupObject, GroupRefusal, GroupTable, NamespaceBindings, ServiceNetworks};
use crate::plan::Notice;

/// What follows from a change of the ServiceGroups.
#[derive(Debug, Default)]
pub(super) struct GroupEffects {
    /// Objects that are gone, or were replaced by another object of the name.
    pub(super) gone: Vec<GroupId>,
    /// Whether the specification of a group changed.
    pub(super) specs_changed: bool,
    /// Whether the table changed.
    pub(super) table_changed: bool,
    /// What to report about groups.
    pub(super) notices: Vec<(GroupId, Notice)>,
}

/// All ServiceGroups.
#[derive(Debug)]
pub(super) struct Groups {
    install_namespace: String,
    objects: BTreeMap<GroupId, GroupObject>,
    table: GroupTable,
    /// The UID and the generation of each group in force. The status says it only when it is written.
    in_force: BTreeMap<GroupId, (String, i64)>,
    bindings: NamespaceBindings,
    service_networks: ServiceNetworks,
}

/// Whether Services have addresses of the group.
pub(super) type IsInUse<'a> = &'a dyn Fn(&Group) -> bool;

impl Groups {
    /// The namespace of the groups.
    pub(super) fn namespace(&self) -> &str {
        &self.install_namespace
    }

    pub(super) fn new(install_namespace: &str) -> Self {
        Self {
            install_namespace: install_namespace.to_owned(),
            objects: BTreeMap::new(),
            table: GroupTable::default(),
            in_force: BTreeMap::new(),
            bindings: NamespaceBindings::default(),
            service_networks: ServiceNetworks::default(),
        }
    }

    pub(super) const fn table(&self) -> &GroupTable {
        &self.table
    }

    pub(super) const fn bindings(&self) -> &NamespaceBindings {
        &self.bindings
    }

    /// The networks of cluster IPs, with which no group may overlap.
    pub(super) const fn service_networks(&self) -> &ServiceNetworks {
        &self.service_networks
    }

    /// Sets the networks of cluster IPs.
    pub(super) fn set_service_networks(&mut self, networks: ServiceNetworks, in_use: IsInUse<'_>) -> GroupEffects {
        if networks == self.service_networks {
            return GroupEffects::default();
        }
        self.service_networks = networks;
        self.rebuild(Vec::new(), &BTreeSet::new(), in_use)
    }

    /// Other Services are known: checks a group again that was refused because it was not in use.
    pub(super) fn recheck(&mut self, in_use: IsInUse<'_>) -> GroupEffects {
        if self.table.refused().any(|(_, refusal)| matches!(refusal, GroupRefusal::ServiceNetwork { .. })) {
            self.rebuild(Vec::new(), &BTreeSet::new(), in_use)
        } else {
            GroupEffects::default()
        }
    }

    pub(super) fn object(&self, id: &GroupId) -> Option<&GroupObject> {
        self.objects.get(id)
    }

    /// Whether there is no ServiceGroup of this name whose addresses could be used, not even a refused one.
    pub(super) fn is_missing(&self, name: &str) -> bool {
        // Without any in the namespace of the installation, those of all namespaces count.
        let in_scope = |namespace: &str| *namespace == self.install_namespace;
        let any_in_scope = self.objects.keys().any(|(namespace, _)| in_scope(namespace));
        let is_it = |(namespace, known): &GroupId| known == name && (in_scope(namespace) || !any_in_scope);
        !self.objects.keys().any(is_it)
    }

    /// A ServiceGroup was added or changed.
    pub(super) fn apply(&mut self, object: GroupObject, in_use: IsInUse<'_>) -> GroupEffects {
        let id = (object.namespace.clone(), object.name.clone());
        let known = self.objects.get(&id);
        let replaced = known.is_some_and(|known| known.uid != object.uid);
        let spec_changed = known.is_none_or(|known| {
            replaced
                || known.generation != object.generation
                || known.parsed != object.parsed
                || standing_by_status(known) != standing_by_status(&object)
        });
        self.objects.insert(id.clone(), object);
        let gone = if replaced { vec![id.clone()] } else { Vec::new() };
        if spec_changed { self.rebuild(gone, &BTreeSet::from([id]), in_use) } else { GroupEffects::default() }
    }

    /// A ServiceGroup was deleted.
    pub(super) fn delete(&mut self, id: &GroupId, in_use: IsInUse<'_>) -> GroupEffects {
        if self.objects.remove(id).is_none() {
            return GroupEffects::default();
        }
        self.rebuild(vec![id.clone()], &BTreeSet::new(), in_use)
    }

    /// The complete list of ServiceGroups.
    pub(super) fn reset(&mut self, objects: Vec<GroupObject>, in_use: IsInUse<'_>) -> GroupEffects {
        let listed: BTreeMap<GroupId, GroupObject> =
            objects.into_iter().map(|object| ((object.namespace.clone(), object.name.clone()), object)).collect();
        let gone = self.objects.keys().filter(|id| !listed.contains_key(*id)).cloned().collect();
        let is_changed = |(id, object): &(&GroupId, &GroupObject)| {
            self.objects.get(*id).is_none_or(|known| known.parsed != object.parsed || known.uid != object.uid)
        };
        let changed = listed.iter().filter(is_changed).map(|(id, _)| id.clone()).collect();
        self.objects = listed;
        self.rebuild(gone, &changed, in_use)
    }

    fn rebuild(&mut self, gone: Vec<GroupId>, changed: &BTreeSet<GroupId>, in_use: IsInUse<'_>) -> GroupEffects {
        let circumstances = Circumstances {
            namespace: &self.install_namespace,
            networks: &self.service_networks,
            is_in_use: in_use,
            standing: &|id, object| self.standing(id, object),
        };
        let table = GroupTable::new(self.objects.iter(), circumstances);
        let in_force = table.accepted().filter_map(|(id, _)| {
            let object = self.objects.get(id)?;
            Some((id.clone(), (object.uid.clone(), object.generation)))
        });
        self.in_force = in_force.collect();
        let old = std::mem::replace(&mut self.table, table);
        let table_changed = self.table != old;
        if table_changed {
            self.bindings = NamespaceBindings::new(&self.table);
        }
        GroupEffects { gone, specs_changed: true, table_changed, notices: self.notices(&old, changed) }
    }

    /// What is known of the group's being in force: its status says it, and until that is written our memory.
    fn standing(&self, id: &GroupId, object: &GroupObject) -> Standing {
        let conditions = object.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.into_iter().find(|condition| condition.type_ == READY);
        if ready.is_some_and(|ready| ready.observed_generation == Some(object.generation)) {
            return standing_by_status(object);
        }
        match self.in_force.get(id) {
            Some((uid, generation)) if *uid == object.uid && *generation == object.generation => Standing::Current,
            Some((uid, _)) if *uid == object.uid => Standing::Edited,
            _ => standing_by_status(object),
        }
    }

    /// What to report about all groups when a term begins.
    pub(super) fn all_notices(&self) -> Vec<(GroupId, Notice)> {
        self.notices(&self.table, &self.objects.keys().cloned().collect())
    }

    /// One notice for each group that was edited, or whose acceptance is not what it was in the old table.
    fn notices(&self, old: &GroupTable, changed: &BTreeSet<GroupId>) -> Vec<(GroupId, Notice)> {
        let mut notices = Vec::new();
        for (id, group) in self.table.accepted() {
            let was_accepted = old.get(&id.1).is_some() && old.refusal(id).is_none();
            if !was_accepted || changed.contains(id) {
                notices.push((
                    id.clone(),
                    Notice::normal(reason::PARSED, format!("The group is in use{}", surprises(group))),
                ));
            }
        }
        for (id, refusal) in self.table.refused() {
            if old.refusal(id) != Some(refusal) || changed.contains(id) {
                let text = format!("The group is not used: {refusal}");
                notices.push((id.clone(), Notice::warning(reason::PARSE_FAILED, text)));
            }
        }
        for (id, _) in self.table.out_of_scope() {
            if !old.out_of_scope().any(|(known, _)| known == id) || changed.contains(id) {
                let text = format!(
                    "The group is not used: only ServiceGroups in namespace {:?} are used; create it there",
                    self.install_namespace
                );
                notices.push((id.clone(), Notice::warning(reason::OUT_OF_SCOPE, text)));
            }
        }
        notices
    }

    /// The reference for Kubernetes events about a group.
    pub(super) fn reference(&self, id: &GroupId) -> ObjectReference {
        ObjectReference {
            api_version: Some("purelb.io/v2".to_owned()),
            kind: Some("ServiceGroup".to_owned()),
            namespace: Some(id.0.clone()),
            name: Some(id.1.clone()),
            uid: self.objects.get(id).map(|object| object.uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// What the status says. A refusal of ours is no reason to refuse a group again.
fn standing_by_status(object: &GroupObject) -> Standing {
    match Standing::of(object.status.as_ref(), Some(object.generation)) {
        Standing::Refused => Standing::New,
        standing => standing,
    }
}

/// What ranges mean that are written as networks with host bits. They begin with the address that is written.
fn surprises(group: &Group) -> String {
    let begins_inside = |pool: &&Pool| {
        let network: Option<IpNetwork> = pool.text.trim().parse().ok().filter(|_| pool.text.contains('/'));
        network.is_some_and(|network| network.network() != pool.range.first())
    };
    let texts = group
        .pools
        .iter()
        .filter(begins_inside)
        .map(|pool| format!("; {} stands for {} to {}", pool.text, pool.range.first(), pool.range.last()));
    texts.collect()
}
