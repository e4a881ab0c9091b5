//! The ServiceGroups and the table made of them.

use std::collections::{BTreeMap, BTreeSet};

use api_types::names::reason;
use k8s_openapi::api::core::v1::ObjectReference;

use crate::model::{GroupId, GroupObject, GroupTable, NamespaceBindings};
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
    bindings: NamespaceBindings,
}

impl Groups {
    pub(super) fn new(install_namespace: &str) -> Self {
        Self {
            install_namespace: install_namespace.to_owned(),
            objects: BTreeMap::new(),
            table: GroupTable::default(),
            bindings: NamespaceBindings::default(),
        }
    }

    pub(super) const fn table(&self) -> &GroupTable {
        &self.table
    }

    pub(super) const fn bindings(&self) -> &NamespaceBindings {
        &self.bindings
    }

    pub(super) fn object(&self, id: &GroupId) -> Option<&GroupObject> {
        self.objects.get(id)
    }

    /// A ServiceGroup was added or changed.
    pub(super) fn apply(&mut self, object: GroupObject) -> GroupEffects {
        let id = (object.namespace.clone(), object.name.clone());
        let known = self.objects.get(&id);
        let replaced = known.is_some_and(|known| known.uid != object.uid);
        let spec_changed = known
            .is_none_or(|known| replaced || known.generation != object.generation || known.parsed != object.parsed);
        self.objects.insert(id.clone(), object);
        let gone = if replaced { vec![id.clone()] } else { Vec::new() };
        if spec_changed { self.rebuild(gone, &BTreeSet::from([id])) } else { GroupEffects::default() }
    }

    /// A ServiceGroup was deleted.
    pub(super) fn delete(&mut self, id: &GroupId) -> GroupEffects {
        if self.objects.remove(id).is_none() {
            return GroupEffects::default();
        }
        self.rebuild(vec![id.clone()], &BTreeSet::new())
    }

    /// The complete list of ServiceGroups.
    pub(super) fn reset(&mut self, objects: Vec<GroupObject>) -> GroupEffects {
        let listed: BTreeMap<GroupId, GroupObject> =
            objects.into_iter().map(|object| ((object.namespace.clone(), object.name.clone()), object)).collect();
        let gone = self.objects.keys().filter(|id| !listed.contains_key(*id)).cloned().collect();
        let is_changed = |(id, object): &(&GroupId, &GroupObject)| {
            self.objects.get(*id).is_none_or(|known| known.parsed != object.parsed || known.uid != object.uid)
        };
        let changed = listed.iter().filter(is_changed).map(|(id, _)| id.clone()).collect();
        self.objects = listed;
        self.rebuild(gone, &changed)
    }

    fn rebuild(&mut self, gone: Vec<GroupId>, changed: &BTreeSet<GroupId>) -> GroupEffects {
        let table = GroupTable::new(self.objects.iter(), &self.install_namespace);
        let old = std::mem::replace(&mut self.table, table);
        let table_changed = self.table != old;
        if table_changed {
            self.bindings = NamespaceBindings::new(&self.table);
        }
        GroupEffects { gone, specs_changed: true, table_changed, notices: self.notices(&old, changed) }
    }

    /// What to report about all groups when a term begins.
    pub(super) fn all_notices(&self) -> Vec<(GroupId, Notice)> {
        self.notices(&self.table, &self.objects.keys().cloned().collect())
    }

    /// One notice for each group that was edited, or whose acceptance is not what it was in the old table.
    fn notices(&self, old: &GroupTable, changed: &BTreeSet<GroupId>) -> Vec<(GroupId, Notice)> {
        let mut notices = Vec::new();
        for (id, _) in self.table.accepted() {
            let was_accepted = old.get(&id.1).is_some() && old.refusal(id).is_none();
            if !was_accepted || changed.contains(id) {
                notices.push((id.clone(), Notice::normal(reason::PARSED, "The group is in use".to_owned())));
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
