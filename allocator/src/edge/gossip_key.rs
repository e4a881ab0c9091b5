//! The key of the agents' gossip.
//!
//! The manifests create its Secret empty. The first leader writes a key into it, which stays when the manifests are
//! applied again.

use std::time::Duration;

use api_types::names::GOSSIP_SECRET;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use runtime::backoff::Backoff;
use runtime::log::ErrorChain;
use runtime::write::{Next, WriteCounter, WriteError, within};
use serde_json::json;
use tracing::{info, warn};

use crate::FIELD_MANAGER;

/// The entry of the Secret's data that holds the key in use.
pub const CURRENT: &str = "current";
/// The length of the key in bytes.
pub const LENGTH: usize = 32;

const DEADLINE: Duration = Duration::from_secs(3);

/// Writes a random key into the Secret if it has none. Tries until it succeeds.
pub(super) async fn fill(secrets: Api<Secret>, writes: WriteCounter) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        match attempt(&secrets, &writes).await {
            Ok(true) => return info!(op = "gossip", secret = GOSSIP_SECRET, "wrote a new gossip key into the Secret"),
            Ok(false) => return,
            Err(error) if error.next() == Next::Remake => {}
            Err(error) => {
                warn!(op = "gossip", secret = GOSSIP_SECRET, error = %ErrorChain(&error), "cannot write the gossip key into the Secret, trying again");
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Returns whether a key was written.
async fn attempt(secrets: &Api<Secret>, writes: &WriteCounter) -> Result<bool, WriteError> {
    let secret = within(DEADLINE, secrets.get(GOSSIP_SECRET)).await?;
    let current = secret.data.as_ref().and_then(|data| data.get(CURRENT));
    if current.is_some_and(|key| !key.0.is_empty()) {
        return Ok(false);
    }
    let mut key = vec![0; LENGTH];
    if getrandom::fill(&mut key).is_err() {
        // The kernel's source of randomness is not ready yet.
        return Err(WriteError::Deadline(Duration::ZERO));
    }
    let patch = json!({
        "metadata": {"resourceVersion": secret.metadata.resource_version},
        "data": {CURRENT: ByteString(key)},
    });
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(&patch);
    writes.count("secret", within(DEADLINE, secrets.patch(GOSSIP_SECRET, &parameters, &patch)).await)?;
    Ok(true)
}
