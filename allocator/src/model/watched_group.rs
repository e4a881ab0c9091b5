//! A ServiceGroup from the API server, as it is kept. A group that cannot be read does not hide the others.

use api_types::{Group, ServiceGroup, Watched};
use kube::Resource;

use super::group::{GroupObject, GroupRefusal};

/// A ServiceGroup from the API server.
pub type WatchedGroup = Watched<ServiceGroup>;

impl GroupObject {
    /// The group as kept.
    #[must_use]
    pub fn new(watched: &WatchedGroup) -> Self {
        let (namespace, name) = watched.id();
        let kinds = ["local", "remote", "external"];
        let kind = kinds.into_iter().find(|kind| watched.has(kind)).unwrap_or("netbox");
        let parsed = match watched.spec() {
            Ok(spec) => Group::new(&name, &spec).map_err(GroupRefusal::from),
            Err(error) => Err(GroupRefusal::Unreadable(error.to_string())),
        };
        Self {
            namespace,
            uid: watched.meta().uid.clone().unwrap_or_default(),
            generation: watched.meta().generation.unwrap_or_default(),
            created: watched.meta().creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second()),
            kind,
            parsed,
            // A status that does not fit the schema is replaced.
            status: watched.status(),
            name,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn case_96_what_does_not_fit_the_schema_is_refused_not_lost() {
        let watched: WatchedGroup = serde_json::from_value(json!({
            "metadata": {"name": "old", "namespace": "purelb"}, "spec": {"local": {"v4pool": {"pool": 7}}}, "status": {"x": 1}
        }))
        .unwrap();
        let object = GroupObject::new(&watched);
        let refusal = object.parsed.unwrap_err();
        assert_eq!(refusal.reason(), "Unreadable");
        assert!(refusal.to_string().contains("spec.local.v4pool.pool is 7"), "{refusal}");
        assert_eq!((object.kind, object.status), ("local", None));
    }
}
