//! The allocator's writes without an allocator: the same bodies, prepared beforehand, with the same concurrency.

use e2e::BenchResult as Result;
use std::net::Ipv4Addr;

use e2e::ServiceObject;
use futures::{StreamExt, channel::mpsc, stream};
use http::{Request, header::CONTENT_TYPE};
use kube::Client;

use crate::services::path;

/// The number of concurrent writes, the same as the allocator's.
const IN_FLIGHT: usize = 64;

/// The part of the bodies that does not depend on the API server's answers.
pub(super) fn bodies(count: u32) -> Vec<String> {
    let first = u32::from(Ipv4Addr::new(10, 129, 0, 0));
    (0..count).map(|number| body(Ipv4Addr::from(first + number))).collect()
}

fn body(address: Ipv4Addr) -> String {
    format!(
        r#""annotations":{{"purelb.io/allocated-by":"PureLB","purelb.io/allocated-from":"default","purelb.io/pool-type":"remote","purelb.io/skip-ipv6-dad":null}}}},"status":{{"loadBalancer":{{"ingress":[{{"ip":"{address}","ipMode":"VIP"}}]}}}}}}"#
    )
}

/// Gives one Service an address.
pub(super) async fn patch(client: &Client, service: &ServiceObject, body: &str) -> Result<()> {
    let metadata = &service.metadata;
    let uri = format!("{}/{}/status?fieldManager=purelb-allocator", path(), metadata.name);
    let head = format!(r#"{{"metadata":{{"uid":"{}","resourceVersion":"{}","#, metadata.uid, metadata.resource_version);
    let request = Request::patch(uri).header(CONTENT_TYPE, "application/merge-patch+json");
    client.request_text(request.body((head + body).into_bytes())?).await?;
    Ok(())
}

/// Gives Services addresses in the order in which they are created.
pub(super) async fn patch_all(
    client: Client,
    bodies: Vec<String>,
    services: mpsc::UnboundedReceiver<ServiceObject>,
) -> Result<()> {
    let work = services.zip(stream::iter(bodies));
    let mut patches = std::pin::pin!(
        work.map(|(service, body)| {
            let client = client.clone();
            async move { patch(&client, &service, &body).await }
        })
        .buffer_unordered(IN_FLIGHT)
    );
    while let Some(result) = patches.next().await {
        result?;
    }
    Ok(())
}
