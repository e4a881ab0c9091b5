//! Decoding of our resources one by one.
//!
//! A definition that is newer than a program, or an object that an older definition accepted, may hold values that the
//! program does not know. A list that is decoded as a whole fails because of one of them. Here only that object is
//! refused, and the refusal names the field.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::object::{HasSpec, HasStatus};
use kube::{Resource, ResourceExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use thiserror::Error;

/// How many characters of a value an error shows.
const MAX_VALUE: usize = 100;

/// Why an object cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{path} is {value}, which this release cannot read: {why}")]
pub struct Unreadable {
    /// The field, for example `spec.local.conflictDetection`.
    pub path: String,
    /// Its value as JSON, shortened.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
}

/// An object as the API server delivers it: its metadata is known, the rest may not fit the type `K`.
#[derive(Debug, Clone, Deserialize)]
#[serde(bound = "")]
pub struct Watched<K> {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
    #[serde(skip)]
    kind: PhantomData<fn() -> K>,
}

impl<K: Resource<DynamicType = ()>> Resource for Watched<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl<K: Resource<DynamicType = ()>> Watched<K> {
    /// Namespace and name.
    #[must_use]
    pub fn id(&self) -> (String, String) {
        (self.namespace().unwrap_or_default(), self.name_any())
    }

    /// Whether the specification has the field, readable or not.
    #[must_use]
    pub fn has(&self, field: &str) -> bool {
        self.spec.get(field).is_some()
    }
}

impl<K: HasSpec> Watched<K>
where
    K::Spec: DeserializeOwned + Default,
{
    /// The specification.
    ///
    /// # Errors
    /// The first field that cannot be read.
    pub fn spec(&self) -> Result<K::Spec, Unreadable> {
        if self.spec.is_null() {
            return Ok(K::Spec::default());
        }
        serde_path_to_error::deserialize(&self.spec).map_err(|error| unreadable(&self.spec, &error))
    }
}

impl<K: HasStatus> Watched<K>
where
    K::Status: DeserializeOwned,
{
    /// The status; nothing if there is none or it cannot be read.
    #[must_use]
    pub fn status(&self) -> Option<K::Status> {
        Deserialize::deserialize(&self.status).ok()
    }
}

fn unreadable(spec: &Value, error: &serde_path_to_error::Error<serde_json::Error>) -> Unreadable {
    let (mut path, mut found) = ("spec".to_owned(), spec);
    for segment in error.path() {
        let (text, value) = match segment {
            Segment::Map { key } => (format!(".{key}"), found.get(key)),
            Segment::Seq { index } => (format!("[{index}]"), found.get(index)),
            Segment::Enum { .. } | Segment::Unknown => break,
        };
        let Some(value) = value else { break };
        let _infallible = path.write_str(&text);
        found = value;
    }
    let text = found.to_string();
    let value = match text.char_indices().nth(MAX_VALUE) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    };
    Unreadable { path, value, why: error.inner().to_string() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::{LBNodeAgent, ServiceGroup};

    fn watched<K>(spec: &Value) -> Watched<K> {
        serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "purelb"}, "spec": spec})).unwrap()
    }

    #[rstest]
    #[case(json!({"local": {"conflictDetection": "Perhaps"}}), "spec.local.conflictDetection", "\"Perhaps\"")]
    #[case(json!({"local": {"conflictDetection": false}}), "spec.local.conflictDetection", "false")]
    #[case(json!({"local": {"interfaces": ["eth0", 7]}}), "spec.local.interfaces[1]", "7")]
    #[case(json!({"local": {"garpConfig": {"count": "three"}}}), "spec.local.garpConfig.count", "\"three\"")]
    #[case(json!("text"), "spec", "\"text\"")]
    fn case_96_a_value_that_this_build_does_not_know_is_named(
        #[case] spec: Value,
        #[case] path: &str,
        #[case] value: &str,
    ) {
        let error = watched::<LBNodeAgent>(&spec).spec().unwrap_err();
        assert_eq!((error.path.as_str(), error.value.as_str()), (path, value), "{error}");
    }

    #[test]
    fn case_96_the_metadata_of_an_unreadable_object_is_known() {
        let group = watched::<ServiceGroup>(&json!({"local": {"announce": "Later"}}));
        assert_eq!(group.spec().unwrap_err().path, "spec.local.announce");
        assert_eq!(group.id(), ("purelb".to_owned(), "a".to_owned()));
        assert!(group.has("local") && !group.has("remote") && group.status().is_none());
    }

    #[test]
    fn an_object_without_a_specification_has_an_empty_one() {
        assert_eq!(watched::<LBNodeAgent>(&Value::Null).spec(), Ok(crate::LBNodeAgentSpec::default()));
    }

    #[test]
    fn a_long_value_is_shortened() {
        let error = watched::<LBNodeAgent>(&json!({"local": "x".repeat(1000)})).spec().unwrap_err();
        assert_eq!(error.value.len(), MAX_VALUE + 3);
    }
}
