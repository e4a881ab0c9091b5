//! Reads and writes the record of what is owed to IPAM sidecars, and reads which cluster this is.

use std::time::Duration;

use api_types::names::OWED_RECORD;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use runtime::leader::Leadership;
use runtime::log::ErrorChain;
use runtime::write::{Next, WriteCounter, WriteError, within};
use serde_json::json;
use tracing::warn;

use crate::FIELD_MANAGER;

/// The key of the ConfigMap that holds the record.
pub const KEY: &str = "owed";
/// Its UID identifies a cluster: it exists in every cluster and is never made anew.
const IDENTIFYING_NAMESPACE: &str = "kube-system";
/// The most attempts of one write against somebody who edits the object meanwhile.
const ATTEMPTS: u32 = 3;
/// How long one request may take.
const DEADLINE: Duration = Duration::from_secs(3);

/// What has to be known before sidecars are asked.
pub(super) struct Found {
    /// Which cluster this is.
    pub(super) cluster: String,
    /// The text of the record; `None` if its object does not exist.
    pub(super) record: Option<String>,
}

/// Reads what has to be known before sidecars are asked.
///
/// # Errors
/// A sentence for people: what cannot be read, why, and what to do.
pub(super) async fn find(client: Client, namespace: String, cluster: Option<String>) -> Result<Found, String> {
    let cluster = match cluster {
        Some(cluster) => cluster,
        None => identify(client.clone()).await?,
    };
    let records: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let record = match within(DEADLINE, records.get(OWED_RECORD)).await {
        Ok(object) => Some(object.data.and_then(|mut data| data.remove(KEY)).unwrap_or_default()),
        // The manifests are older than this program. Nothing is recorded.
        Err(error) if matches!(error.next(), Next::Forget | Next::Refused) => None,
        Err(error) => {
            return Err(format!("the ConfigMap {OWED_RECORD} cannot be read: {}", ErrorChain(&error)));
        }
    };
    Ok(Found { cluster, record })
}

async fn identify(client: Client) -> Result<String, String> {
    let namespaces: Api<Namespace> = Api::all(client);
    match within(DEADLINE, namespaces.get(IDENTIFYING_NAMESPACE)).await {
        Ok(namespace) => namespace.metadata.uid.ok_or_else(|| {
            format!("the namespace {IDENTIFYING_NAMESPACE} has no UID: name the cluster by the setting PURELB_CLUSTER")
        }),
        Err(error) => Err(format!(
            "the namespace {IDENTIFYING_NAMESPACE} cannot be read, whose UID tells clusters apart: {}; apply the manifests of this release, or name the cluster by the setting PURELB_CLUSTER",
            ErrorChain(&error)
        )),
    }
}

/// Writes the text into the record, unless it is there. Returns whether that succeeded.
pub(super) async fn write(records: Api<ConfigMap>, text: String, leadership: Leadership, writes: WriteCounter) -> bool {
    for _ in 0..ATTEMPTS {
        if !leadership.is_held() {
            return false;
        }
        match attempt(&records, &text, &writes).await {
            Ok(()) => return true,
            Err(error) if error.next() == Next::Remake => {}
            Err(error) => {
                warn!(op = "ipam", error = %ErrorChain(&error), "cannot write the ConfigMap {OWED_RECORD}, trying again");
                return false;
            }
        }
    }
    false
}

/// Fails if somebody else writes at the same time.
async fn attempt(records: &Api<ConfigMap>, text: &str, writes: &WriteCounter) -> Result<(), WriteError> {
    let object = within(DEADLINE, records.get(OWED_RECORD)).await?;
    let found = object.data.as_ref().and_then(|data| data.get(KEY));
    if found.is_some_and(|found| found == text) {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"resourceVersion": object.metadata.resource_version},
        "data": {KEY: text},
    });
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(&patch);
    writes.count("configmap", within(DEADLINE, records.patch(OWED_RECORD, &parameters, &patch)).await)?;
    Ok(())
}
