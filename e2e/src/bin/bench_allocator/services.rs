//! Creates and deletes Services, as fast as the API server takes them.

use std::{ops::Range, time::Instant};

use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, header::CONTENT_TYPE};
use kube::Client;
use serde::Deserialize;

use super::{Result, setting::SPACE};

/// Creations at a time: as a rollout tool that works in parallel.
const CREATIONS: usize = 16;

/// What the API server said about a new Service.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Created {
    pub(super) metadata: Metadata,
}

/// As much of it as a write needs.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
}

/// Names sort as they count.
pub(super) fn name(number: u32) -> String {
    format!("s-{number:06}")
}

/// The path of all of them.
pub(super) fn path() -> String {
    format!("/api/v1/namespaces/{SPACE}/services")
}

/// A Service without node ports, of which there are too few, and without a selector, so that no other controller works.
fn body(number: u32, class: Option<&str>) -> Vec<u8> {
    let class = class.map(|class| format!(r#""loadBalancerClass":"{class}","#)).unwrap_or_default();
    let name = name(number);
    format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{name}"}},"spec":{{{class}"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,"ports":[{{"name":"http","port":80}}]}}}}"#
    )
    .into_bytes()
}

/// Creates one; also says when the request was sent.
pub(super) async fn create_one(client: &Client, number: u32, class: Option<&str>) -> Result<(Instant, Created)> {
    let request = Request::post(path()).header(CONTENT_TYPE, "application/json").body(body(number, class))?;
    let sent = Instant::now();
    Ok((sent, client.request(request).await?))
}

/// Creates many, and hands each on as soon as it is there.
pub(super) async fn create(client: Client, numbers: Range<u32>, each: impl Fn(Created)) -> Result<()> {
    stream::iter(numbers)
        .map(|number| create_one(&client, number, None))
        .buffer_unordered(CREATIONS)
        .try_for_each(|(_, created)| {
            each(created);
            std::future::ready(Ok(()))
        })
        .await
}

/// Deletes these.
pub(super) async fn delete(client: &Client, numbers: Range<u32>) -> Result<()> {
    stream::iter(numbers)
        .map(|number| async move {
            let request = Request::delete(format!("{}/{}", path(), name(number))).body(Vec::new())?;
            match client.request_text(request).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                answer => answer.map(drop).map_err(Into::into),
            }
        })
        .buffer_unordered(CREATIONS)
        .try_collect()
        .await
}

/// All that there are.
pub(super) async fn list(client: &Client) -> Result<Vec<Created>> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Created>,
    }
    let list: List = client.request(Request::get(path()).body(Vec::new())?).await?;
    Ok(list.items)
}

/// Takes the addresses away from all of them, as if they had been created just now.
pub(super) async fn clear_all(client: &Client) -> Result<()> {
    const NOTHING: &str = r#"{"metadata":{"annotations":null},"status":{"loadBalancer":null}}"#;
    stream::iter(list(client).await?)
        .map(|service| async move {
            let uri = format!("{}/{}/status", path(), service.metadata.name);
            let request = Request::patch(uri).header(CONTENT_TYPE, "application/merge-patch+json");
            client.request_text(request.body(NOTHING.as_bytes().to_vec())?).await?;
            Ok(())
        })
        .buffer_unordered(CREATIONS)
        .try_collect()
        .await
}

/// Deletes whatever an earlier run has left.
pub(super) async fn delete_all(client: &Client) -> Result<()> {
    let services = list(client).await?;
    let number = |service: &Created| service.metadata.name.strip_prefix("s-")?.parse::<u32>().ok();
    stream::iter(services.iter().filter_map(number).collect::<Vec<_>>())
        .map(|number| delete(client, number..number + 1))
        .buffer_unordered(CREATIONS)
        .try_collect()
        .await
}
