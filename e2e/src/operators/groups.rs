//! An operator that edits a `ServiceGroup` each second.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{cluster::installation::NAMESPACE, operators::operator::Operator};

/// The pause between two edits.
const EDIT: Duration = Duration::from_secs(1);

/// A group of version v2, and the two specifications between which it is edited.
#[derive(Clone, Debug)]
pub struct EditedGroup {
    /// Its name.
    pub name: String,
    /// As it is, and as it will be at the end.
    pub usual: Value,
    /// As it is for a second now and then.
    pub other: Value,
}

impl Operator {
    /// Edits these groups, each in its second.
    pub fn edits_groups(client: Client, groups: Vec<EditedGroup>) -> Self {
        Self::start("edits groups", move |mut rounds| async move {
            let kind = GroupVersionKind::gvk("purelb.io", "v2", "ServiceGroup");
            let resource = ApiResource::from_gvk_with_plural(&kind, "servicegroups");
            let api: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &resource);
            let parameters = PatchParams { field_manager: Some("group-editor".into()), ..PatchParams::default() };
            let mut other = true;
            let edit = async |group: &EditedGroup, spec: &Value| {
                api.patch(&group.name, &parameters, &Patch::Merge(json!({"spec": spec}))).await
            };
            while rounds.next(EDIT).await {
                for group in &groups {
                    rounds.count(&edit(group, if other { &group.other } else { &group.usual }).await);
                }
                other = !other;
            }
            for group in &groups {
                rounds.count(&edit(group, &group.usual).await);
            }
        })
    }
}
