//! Many Services of one namespace, created and deleted as fast as the API server takes them, and a watcher that notes
//! when their addresses become visible.

use std::{collections::HashSet, time::Instant};

use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, header::CONTENT_TYPE};
use kube::{
    Client,
    api::{ListParams, WatchEvent, WatchParams},
    core,
};
use serde::Deserialize;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::error::{Result, unexpected};

/// Requests at a time: as a rollout tool that works in parallel.
const AT_A_TIME: usize = 16;

/// What the API server says about a Service.
#[derive(Debug, Clone, Deserialize)]
pub struct Created {
    /// Its metadata.
    pub metadata: Metadata,
}

/// As much of it as a write needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
}

/// The Services of a namespace, by requests without anything between them and the API server.
#[derive(Clone)]
pub struct Bulk {
    client: Client,
    path: String,
}

impl Bulk {
    /// Those of this namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, path: format!("/api/v1/namespaces/{namespace}/services") }
    }

    /// The path of all of them.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Creates one from its JSON; also says when the request was sent.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn create(&self, body: Vec<u8>) -> Result<(Instant, Created)> {
        let request = Request::post(&self.path).header(CONTENT_TYPE, "application/json").body(body);
        let request = request.map_err(|error| unexpected(&self.path, error))?;
        let sent = Instant::now();
        Ok((sent, self.client.request(request).await?))
    }

    /// Creates many, and hands each on as soon as it is there.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn create_all(&self, bodies: impl Iterator<Item = Vec<u8>>, each: impl Fn(Created)) -> Result<()> {
        let created = stream::iter(bodies).map(|body| self.create(body)).buffer_unordered(AT_A_TIME);
        let hand_on = |(_, created)| {
            each(created);
            std::future::ready(Ok(()))
        };
        created.try_for_each(hand_on).await
    }

    /// Deletes one, if it is there; says when the request was sent.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn delete(&self, name: &str) -> Result<Instant> {
        let request = Request::delete(format!("{}/{name}", self.path)).body(Vec::new());
        let request = request.map_err(|error| unexpected(&self.path, error))?;
        let sent = Instant::now();
        match self.client.request_text(request).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            answer => drop(answer?),
        }
        Ok(sent)
    }

    /// Deletes these.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn delete_all(&self, names: impl Iterator<Item = String>) -> Result<()> {
        let deleted = stream::iter(names).map(|name| async move { self.delete(&name).await.map(drop) });
        deleted.buffer_unordered(AT_A_TIME).try_collect().await
    }

    /// All that there are.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn list(&self) -> Result<Vec<Created>> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<Created>,
        }
        let request = Request::get(&self.path).body(Vec::new()).map_err(|error| unexpected(&self.path, error))?;
        let list: List = self.client.request(request).await?;
        Ok(list.items)
    }

    /// Watches when they get their first address, from now on.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn sight(&self) -> Result<Sight> {
        Sight::open(self.client.clone(), &self.path).await
    }
}

/// A watcher that notes when a Service's address becomes visible, as any other client would see it. It watches until it
/// is dropped, but no longer than 290 s.
#[derive(Debug)]
pub struct Sight {
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
    async fn open(client: Client, path: &str) -> Result<Self> {
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
