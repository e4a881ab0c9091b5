//! The metadata of Services from the API server, reduced while they are read: labels are dropped, annotations of others
//! as well, and of the managed fields only who wrote is kept.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::{Deserialize, Deserializer};

use super::managed_fields::{Entry, Writers};

/// Reads only the metadata that is used. Managed fields are often larger than all the rest.
pub(super) fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Metadata::deserialize(deserializer).map(|metadata| metadata.object)
}

/// The metadata that is used.
#[derive(Debug, Clone, Default)]
pub(super) struct Metadata {
    pub(super) object: ObjectMeta,
    pub(super) writers: Writers,
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Slim {
            name: Option<String>,
            namespace: Option<String>,
            uid: Option<String>,
            resource_version: Option<String>,
            creation_timestamp: Option<Time>,
            deletion_timestamp: Option<Time>,
            annotations: Option<BTreeMap<String, String>>,
            managed_fields: Option<Vec<Entry>>,
        }
        let slim = Slim::deserialize(deserializer)?;
        let annotations = slim.annotations.map(|mut annotations| {
            annotations.retain(|key, _| key.starts_with("purelb.io/"));
            annotations
        });
        let object = ObjectMeta {
            name: slim.name,
            namespace: slim.namespace,
            uid: slim.uid,
            resource_version: slim.resource_version,
            creation_timestamp: slim.creation_timestamp,
            deletion_timestamp: slim.deletion_timestamp,
            annotations,
            ..ObjectMeta::default()
        };
        Ok(Self { object, writers: Writers::of(slim.managed_fields.as_deref().unwrap_or_default()) })
    }
}
