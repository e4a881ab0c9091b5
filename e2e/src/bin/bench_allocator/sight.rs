//! A watcher that notes when a Service's address becomes visible, as any other client would see it.

use std::{collections::HashSet, time::Instant};

use futures::TryStreamExt;
use kube::{
    Client,
    api::{ListParams, WatchEvent, WatchParams},
    core::Request,
};
use serde::Deserialize;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{Result, services};

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Sight {
    seen: mpsc::UnboundedReceiver<Instant>,
    task: JoinHandle<()>,
}

impl Drop for Sight {
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

impl Sight {
    /// Sees everything that happens from now on.
    pub(super) async fn open(client: Client) -> Result<Self> {
        let services = Request::new(services::path());
        let now: Listed = client.request(services.list(&ListParams::default().limit(1))?).await?;
        let watch = services.watch(&WatchParams::default().timeout(290), &now.metadata.resource_version)?;
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
    pub(super) async fn next(&mut self) -> Result<Instant> {
        self.seen.recv().await.ok_or_else(|| "the watch ended: the burst took too long".into())
    }

    /// Waits until this many Services have got their first address; first and last time.
    pub(super) async fn count(&mut self, services: u32) -> Result<(Instant, Instant)> {
        let first = self.next().await?;
        let mut last = first;
        for _ in 1..services {
            last = self.next().await?;
        }
        Ok((first, last))
    }
}
