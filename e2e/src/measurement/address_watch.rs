//! Notes when the addresses of Services become visible to a client that watches them.

use std::{collections::HashSet, time::Instant};

use futures::TryStreamExt;
use kube::{
    Client,
    api::{ListParams, WatchEvent, WatchParams},
    core,
};
use serde::Deserialize;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::base::error::{Result, unexpected};

/// A watcher that notes when a Service's address becomes visible, as any other client would see it. It watches until it
/// is dropped, but no longer than 290 s.
#[derive(Debug)]
pub struct AddressWatch {
    seen: mpsc::UnboundedReceiver<Instant>,
    task: JoinHandle<()>,
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Watched {
    metadata: Named,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default, rename = "loadBalancer")]
    load_balancer: LoadBalancer,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct LoadBalancer {
    #[serde(default)]
    ingress: Vec<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    metadata: ListMeta,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
}

impl AddressWatch {
    /// Begins to watch the Services at this path of the API.
    pub(crate) async fn open(client: Client, path: &str) -> Result<Self> {
        let services = core::Request::new(path);
        let fault = |error| unexpected(path, error);
        let list = services.list(&ListParams::default().limit(1)).map_err(fault)?;
        let now: Listed = client.request(list).await?;
        let parameters = WatchParams::default().timeout(290);
        let watch = services.watch(&parameters, &now.metadata.resource_version).map_err(fault)?;
        let mut events = Box::pin(client.request_events::<Watched>(watch).await?);
        let (sender, seen) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut known = HashSet::new();
            while let Ok(Some(event)) = events.try_next().await {
                let at = Instant::now();
                if let WatchEvent::Added(service) | WatchEvent::Modified(service) = event
                    && !service.status.load_balancer.ingress.is_empty()
                    && known.insert(service.metadata.name)
                    && sender.send(at).is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { seen, task })
    }

    /// When the next Service's first address was seen.
    ///
    /// # Errors
    /// The watch has ended.
    pub async fn next(&mut self) -> Result<Instant> {
        self.seen.recv().await.ok_or_else(|| unexpected("a watch of Services", "it ended: that took too long"))
    }

    /// Waits until this many Services have got their first address; first and last time.
    ///
    /// # Errors
    /// The watch has ended.
    pub async fn count(&mut self, services: u32) -> Result<(Instant, Instant)> {
        let first = self.next().await?;
        let mut last = first;
        for _ in 1..services {
            last = self.next().await?;
        }
        Ok((first, last))
    }
}
