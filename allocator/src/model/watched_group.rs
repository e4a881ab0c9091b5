//! Decoding of a ServiceGroup from the API server. A group that cannot be read does not hide the others.

use std::borrow::Cow;

use api_types::{Group, ServiceGroup, ServiceGroupSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;
use serde_json::Value;

use super::group::{GroupObject, GroupRefusal};

/// A ServiceGroup from the API server.
#[derive(Debug, Clone, Deserialize)]
pub struct WatchedGroup {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl Resource for WatchedGroup {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        ServiceGroup::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        ServiceGroup::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        ServiceGroup::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        ServiceGroup::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl WatchedGroup {
    /// The group as kept.
    #[must_use]
    pub fn keep(&self) -> GroupObject {
        let name = self.metadata.name.clone().unwrap_or_default();
        let kinds = ["local", "remote", "external"];
        let kind = kinds.into_iter().find(|kind| self.spec.get(kind).is_some()).unwrap_or("netbox");
        let spec: Result<ServiceGroupSpec, _> = ServiceGroupSpec::deserialize(&self.spec);
        let parsed = match spec {
            Ok(spec) => Group::new(&name, &spec).map_err(GroupRefusal::from),
            Err(error) => Err(GroupRefusal::Unreadable(error.to_string())),
        };
        GroupObject {
            namespace: self.metadata.namespace.clone().unwrap_or_default(),
            uid: self.metadata.uid.clone().unwrap_or_default(),
            generation: self.metadata.generation.unwrap_or_default(),
            kind,
            parsed,
            // A status that does not fit the schema is replaced.
            status: Deserialize::deserialize(&self.status).ok(),
            name,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_fit_the_schema_is_refused_not_lost() {
        let watched: WatchedGroup = serde_json::from_value(json!({
            "metadata": {"name": "old", "namespace": "purelb"}, "spec": {"local": {"v4pool": {"pool": 7}}}, "status": {"x": 1}
        }))
        .unwrap();
        let object = watched.keep();
        assert_eq!(object.parsed.unwrap_err().reason(), "Unreadable");
        assert_eq!((object.kind, object.status), ("local", None));
    }
}
