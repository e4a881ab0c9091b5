//! Watches all Services and checks the rules at every change, as long as a test lasts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use e2e::testing::audit::{Violation, audit};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    runtime::watcher::{Config, Event, watcher},
};
use tokio::task::JoinHandle;

/// The rules about two Services and one address, checked on every state that the API server has had since the start.
pub(crate) struct InvariantWatch {
    found: Arc<Mutex<BTreeMap<String, Violation>>>,
    task: JoinHandle<()>,
}

impl InvariantWatch {
    pub(crate) fn start(client: Client) -> Self {
        let found = Arc::new(Mutex::new(BTreeMap::new()));
        let task = tokio::spawn(watch(client, Arc::clone(&found)));
        Self { found, task }
    }

    /// Fails if a rule was ever violated.
    pub(crate) fn assert_held(self) {
        let found = self.found.lock().unwrap();
        let said: Vec<_> = found.keys().collect();
        assert!(said.is_empty(), "{said:#?}");
    }
}

impl Drop for InvariantWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(client: Client, found: Arc<Mutex<BTreeMap<String, Violation>>>) {
    let mut events = Box::pin(watcher(Api::<Service>::all(client), Config::default()));
    let mut services = BTreeMap::new();
    let id = |service: &Service| (service.metadata.namespace.clone(), service.metadata.name.clone());
    let mut complete = false;
    loop {
        match events.try_next().await {
            Ok(Some(Event::Init)) => {
                services.clear();
                complete = false;
            }
            Ok(Some(Event::InitApply(service) | Event::Apply(service))) => _ = services.insert(id(&service), service),
            Ok(Some(Event::Delete(service))) => _ = services.remove(&id(&service)),
            Ok(Some(Event::InitDone)) => complete = true,
            Ok(None) => return,
            Err(error) => eprintln!("invariants: {error}"),
        }
        if complete {
            let all: Vec<Service> = services.values().cloned().collect();
            for broken in audit(&all, &[]) {
                found.lock().unwrap().insert(broken.to_string(), broken);
            }
        }
    }
}
