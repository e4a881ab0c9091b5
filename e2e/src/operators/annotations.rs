//! An operator that deletes every annotation that it did not write, as soon as it sees one.

use std::pin::pin;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::{
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Map, Value, json};

use crate::operators::operator::{Operator, Targets};

/// The annotation that it writes itself. By what it deletes alone nobody could tell who it is: managed fields name
/// those who have set a field.
const OWN: &str = "example.com/seen";

impl Operator {
    /// Deletes all annotations of these Services, those of users included.
    pub fn deletes_annotations(targets: Targets) -> Self {
        Self::start("deletes annotations", move |rounds| async move {
            let api = targets.api();
            let parameters = PatchParams { field_manager: Some("annotation-keeper".into()), ..PatchParams::default() };
            let seen = watcher(api.clone(), watcher::Config::default()).default_backoff().applied_objects();
            let mut seen = pin!(seen.take_until(rounds.over()));
            let mut count: u64 = 0;
            while let Some(service) = seen.next().await {
                let Ok(service) = service else { continue };
                let mut annotations = foreign(&service);
                if !targets.contain(&service) || annotations.is_empty() {
                    continue;
                }
                count += 1;
                annotations.insert(OWN.to_owned(), json!(count.to_string()));
                let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
                let name = service.metadata.name.unwrap_or_default();
                rounds.count(&api.patch(&name, &parameters, &patch).await);
            }
        })
    }
}

/// A patch that deletes what somebody else wrote.
fn foreign(service: &Service) -> Map<String, Value> {
    let all = service.metadata.annotations.iter().flatten();
    all.filter(|(key, _)| *key != OWN).map(|(key, _)| (key.clone(), Value::Null)).collect()
}
