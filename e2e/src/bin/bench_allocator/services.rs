//! Creates and deletes Services as fast as the API server accepts them.

use e2e::BenchResult as Result;
use std::{ops::Range, time::Instant};

use e2e::{AddressWatch, BulkServices, ServiceObject};
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, header::CONTENT_TYPE};
use kube::Client;

use crate::setup::SPACE;

/// The number of concurrent patches.
const PATCHES: usize = 16;

/// The name of a Service. Names sort in the order of their numbers.
fn name(number: u32) -> String {
    format!("s-{number:06}")
}

fn bulk(client: &Client) -> BulkServices {
    BulkServices::new(client.clone(), SPACE)
}

/// The path of the Services in the API.
pub(super) fn path() -> String {
    format!("/api/v1/namespaces/{SPACE}/services")
}

/// A Service without node ports, because there are too few, and without a selector, so that no other controller acts on
/// it.
fn body(number: u32, class: Option<&str>) -> Vec<u8> {
    let class = class.map(|class| format!(r#""loadBalancerClass":"{class}","#)).unwrap_or_default();
    let name = name(number);
    format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{name}"}},"spec":{{{class}"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,"ports":[{{"name":"http","port":80}}]}}}}"#
    )
    .into_bytes()
}

/// Creates a Service. Also returns the time at which the request was sent.
pub(super) async fn create_one(client: &Client, number: u32, class: Option<&str>) -> Result<(Instant, ServiceObject)> {
    Ok(bulk(client).create(body(number, class)).await?)
}

/// Creates many Services, and sends each to the channel as soon as it exists.
pub(super) async fn create(client: Client, numbers: Range<u32>, each: impl Fn(ServiceObject)) -> Result<()> {
    Ok(bulk(&client).create_all(numbers.map(|number| body(number, None)), each).await?)
}

/// Deletes these Services.
pub(super) async fn delete(client: &Client, numbers: Range<u32>) -> Result<()> {
    Ok(bulk(client).delete_all(numbers.map(name)).await?)
}

/// All Services of the benchmark.
pub(super) async fn list(client: &Client) -> Result<Vec<ServiceObject>> {
    Ok(bulk(client).list().await?)
}

/// Records from now on when addresses become visible.
pub(super) async fn watch(client: &Client) -> Result<AddressWatch> {
    Ok(bulk(client).watch_addresses().await?)
}

/// Removes the addresses of all Services, as if they had just been created.
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

/// Deletes what an earlier run has left.
pub(super) async fn delete_all(client: &Client) -> Result<()> {
    let names = list(client).await?.into_iter().map(|service| service.metadata.name);
    Ok(bulk(client).delete_all(names.filter(|name| name.starts_with("s-"))).await?)
}
