//! Counts the writes of our programs to Services, by the managed fields of each version that a watch reports.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use tokio::task::JoinHandle;

/// The field managers of our programs.
const OURS: [&str; 2] = ["purelb-allocator", "purelb-lbnodeagent"];

/// What is bounded is bounded for each minute.
const MINUTE: Duration = Duration::from_secs(60);

/// When a manager wrote last: by itself, by the resource or a part of it.
type LastWrites = BTreeMap<(String, Option<String>), Option<Time>>;

/// When each Service was written, and by whom.
type Seen = BTreeMap<String, Vec<(Instant, &'static str)>>;

/// The writes of our programs to the Services of a namespace, from when it is made until it is dropped.
#[derive(Debug)]
pub struct OurWrites {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for OurWrites {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OurWrites {
    /// Counts from now on.
    #[must_use]
    pub fn count(client: Client, namespace: &str) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let (api, noted) = (Api::<Service>::namespaced(client, namespace), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            let mut last: BTreeMap<String, LastWrites> = BTreeMap::new();
            let versions = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
            let mut versions = pin!(versions);
            while let Some(version) = versions.next().await {
                let Ok(service) = version else { continue };
                let name = service.metadata.name.clone().unwrap_or_default();
                let now = last_writes(&service);
                let Some(before) = last.insert(name.clone(), now.clone()) else { continue };
                let writers = OURS.into_iter().filter(|manager| wrote(manager, &before, &now));
                let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                noted.entry(name).or_default().extend(writers.map(|manager| (Instant::now(), manager)));
            }
        });
        Self { seen, task }
    }

    /// The most writes to a Service within a minute, and what they were: how long after the first, and by whom.
    #[must_use]
    pub fn most_in_a_minute(&self, service: &str) -> Vec<(Duration, &'static str)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = seen.get(service).map(Vec::as_slice).unwrap_or_default();
        let from = |(first, _): &(Instant, &'static str)| -> Vec<_> {
            let later = writes.iter().filter(|(at, _)| at >= first);
            let since = later.map(|(at, manager)| (at.saturating_duration_since(*first), *manager));
            since.filter(|(since, _)| *since < MINUTE).collect()
        };
        writes.iter().map(from).max_by_key(Vec::len).unwrap_or_default()
    }

    /// How many there were, to all Services.
    #[must_use]
    pub fn total(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }
}

fn last_writes(service: &Service) -> LastWrites {
    let entries = service.metadata.managed_fields.iter().flatten();
    let named = entries.filter_map(|entry| {
        let manager = entry.manager.clone()?;
        Some(((manager, entry.subresource.clone()), entry.time.clone()))
    });
    named.collect()
}

/// Whether a manager has written between two versions. Managed fields have whole seconds, so of two writes within one
/// the second may go unnoticed; a manager whose fields are all gone has none until it writes again.
fn wrote(manager: &str, before: &LastWrites, now: &LastWrites) -> bool {
    now.iter().any(|(key, time)| key.0 == manager && before.get(key) != Some(time))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(entries: &Value) -> LastWrites {
        let service = json!({"metadata": {"managedFields": entries}});
        last_writes(&serde_json::from_value(service).unwrap())
    }

    fn entry(manager: &str, second: u8) -> Value {
        let time = format!("2026-01-01T00:00:{second:02}Z");
        json!({"manager": manager, "operation": "Update", "subresource": "status", "time": time})
    }

    #[test]
    fn a_write_is_whose_time_has_changed() {
        let [allocator, agents] = OURS;
        let before = service(&json!([entry(allocator, 1), entry("kubectl", 1)]));
        assert!(!wrote(allocator, &before, &service(&json!([entry(allocator, 1), entry("kubectl", 5)]))));
        assert!(!wrote(allocator, &before, &service(&json!([entry("kubectl", 5)]))));
        let later = service(&json!([entry(allocator, 5), entry(agents, 4), entry("kubectl", 1)]));
        assert!(wrote(allocator, &before, &later) && wrote(agents, &before, &later));
    }
}
