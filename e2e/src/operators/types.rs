//! An operator that changes the type of a Service, and changes it back.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::operators::{
    operator::{Operator, PAUSE, Targets},
    random::Random,
};

impl Operator {
    /// Changes the type of one of these Services after the other to `ClusterIP`, and back soon after that.
    pub fn flips_type(targets: Targets, seed: u64) -> Self {
        Self::start("flips the type", move |mut rounds| async move {
            let (api, mut random) = (targets.api(), Random::new(seed));
            let parameters = PatchParams { field_manager: Some("type-flipper".into()), ..PatchParams::default() };
            let spec = |kind: &str, node_ports: Value| {
                Patch::Merge(json!({"spec": {"type": kind, "allocateLoadBalancerNodePorts": node_ports}}))
            };
            let (inside, outside) = (spec("ClusterIP", Value::Null), spec("LoadBalancer", json!(false)));
            while rounds.next(PAUSE).await {
                let Some(name) = random.one_of(targets.names()) else { return };
                rounds.count(&api.patch(name, &parameters, &inside).await);
                rounds.next(PAUSE * 5).await;
                rounds.count(&api.patch(name, &parameters, &outside).await);
            }
            // Somebody else may have written an old copy meanwhile.
            for name in targets.names() {
                rounds.count(&api.patch(name, &parameters, &outside).await);
            }
        })
    }
}
