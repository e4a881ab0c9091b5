//! Creates and deletes Services as fast as the API server accepts them.

use e2e::BenchResult as Result;
use std::{ops::Range, time::Instant};

use e2e::{AddressWatch, BulkServices, ServiceObject};
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, header::CONTENT_TYPE};
use kube::Client;

use crate::setup::SPACE;

/// Patches at a time.
const PATCHES: usize = 16;

/// Names sort as they count.
fn name(number: u32) -> String {
    format!("s-{number:06}")
}

fn bulk(client: &Client) -> BulkServices {
    BulkServices::new(client.clone(), SPACE)
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
pub(super) async fn create_one(client: &Client, number: u32, class: Option<&str>) -> Result<(Instant, ServiceObject)> {
    Ok(bulk(client).create(body(number, class)).await?)
}

/// Creates many, and hands each on as soon as it is there.
pub(super) async fn create(client: Client, numbers: Range<u32>, each: impl Fn(ServiceObject)) -> Result<()> {
    Ok(bulk(&client).create_all(numbers.map(|number| body(number, None)), each).await?)
}

/// Deletes these.
pub(super) async fn delete(client: &Client, numbers: Range<u32>) -> Result<()> {
    Ok(bulk(client).delete_all(numbers.map(name)).await?)
}

/// All that there are.
pub(super) async fn list(client: &Client) -> Result<Vec<ServiceObject>> {
    Ok(bulk(client).list().await?)
}

/// Notes when addresses become visible from now on.
pub(super) async fn watch(client: &Client) -> Result<AddressWatch> {
    Ok(bulk(client).watch_addresses().await?)
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
        .buffer_unordered(PATCHES)
        .try_collect()
        .await
}

/// Deletes whatever an earlier run has left.
pub(super) async fn delete_all(client: &Client) -> Result<()> {
    let names = list(client).await?.into_iter().map(|service| service.metadata.name);
    Ok(bulk(client).delete_all(names.filter(|name| name.starts_with("s-"))).await?)
}
