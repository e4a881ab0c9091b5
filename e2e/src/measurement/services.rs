//! Many Services of one namespace, created and deleted as fast as the API server accepts them.

use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, header::CONTENT_TYPE};
use kube::Client;
use serde::Deserialize;

use crate::{
    base::error::{Result, unexpected},
    measurement::address_watch::AddressWatch,
};

/// Requests at a time: as a rollout tool that works in parallel.
const AT_A_TIME: usize = 16;

/// A Service as the API server returns it.
#[derive(Debug, Clone, Deserialize)]
pub struct ServiceObject {
    /// Its metadata.
    pub metadata: ServiceMetadata,
}

/// As much of it as a write needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceMetadata {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
}

/// The Services of a namespace, by requests without anything between them and the API server.
#[derive(Clone)]
pub struct BulkServices {
    client: Client,
    path: String,
}

impl BulkServices {
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

    /// Creates one from its JSON; also returns when the request was sent.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn create(&self, body: Vec<u8>) -> Result<(Instant, ServiceObject)> {
        let request = Request::post(&self.path).header(CONTENT_TYPE, "application/json").body(body);
        let request = request.map_err(|error| unexpected(&self.path, error))?;
        let sent = Instant::now();
        Ok((sent, self.client.request(request).await?))
    }

    /// Creates many, and hands each on as soon as it is there.
    ///
    /// # Errors
    /// The API server refuses one.
    pub async fn create_all(&self, bodies: impl Iterator<Item = Vec<u8>>, each: impl Fn(ServiceObject)) -> Result<()> {
        let created = stream::iter(bodies).map(|body| self.create(body)).buffer_unordered(AT_A_TIME);
        let hand_on = |(_, created)| {
            each(created);
            std::future::ready(Ok(()))
        };
        created.try_for_each(hand_on).await
    }

    /// Deletes one, if it is there; returns when the request was sent.
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
    pub async fn list(&self) -> Result<Vec<ServiceObject>> {
        #[derive(Deserialize)]
        struct List {
            items: Vec<ServiceObject>,
        }
        let request = Request::get(&self.path).body(Vec::new()).map_err(|error| unexpected(&self.path, error))?;
        let list: List = self.client.request(request).await?;
        Ok(list.items)
    }

    /// Watches when they get their first address, from now on.
    ///
    /// # Errors
    /// The API server refuses.
    pub async fn watch_addresses(&self) -> Result<AddressWatch> {
        AddressWatch::open(self.client.clone(), &self.path).await
    }
}
