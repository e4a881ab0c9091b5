//! An operator that copies the status of one Service to another, as a syncer between clusters does that has mixed up
//! its keys.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::operators::{
    operator::{Operator, PAUSE, Targets},
    random::Random,
};

impl Operator {
    /// Gives these Services each other's status.
    pub fn copies_status(targets: Targets, seed: u64) -> Self {
        Self::start("copies a status", move |mut rounds| async move {
            let (api, mut random) = (targets.api(), Random::new(seed));
            let parameters = PatchParams { field_manager: Some("status-syncer".into()), ..PatchParams::default() };
            while rounds.next(PAUSE).await {
                let (Some(from), Some(to)) = (random.one_of(targets.names()), random.one_of(targets.names())) else {
                    return;
                };
                let Ok(service) = api.get(from).await else { continue };
                let load_balancer = service.status.and_then(|status| status.load_balancer);
                let patch = Patch::Merge(json!({"status": {"loadBalancer": load_balancer}}));
                rounds.count(&api.patch_status(to, &parameters, &patch).await);
            }
        })
    }
}
