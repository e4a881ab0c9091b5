//! Many Services: created before a measurement, deleted after it.

use e2e::BenchResult as Result;
use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use api_types::service::ingress_addresses;
use e2e::{Family, eventually};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::{
    figures::readable,
    nic::Nic,
    setup::{Bench, DUMMY, Kind, SPACE, service},
    table::Line,
};

/// The deadline for the last addresses. The allocator assigns most of them while the Services are created.
const PATIENCE: Duration = Duration::from_secs(120);

/// Many Services, each with one remote address of the same family.
#[derive(Debug)]
pub(crate) struct Many {
    pub(crate) family: Family,
    pub(crate) addresses: Vec<IpAddr>,
    names: Vec<String>,
}

impl Many {
    /// Creates the Services and waits until each has its address.
    pub(crate) async fn create(bench: &Bench, family: Family, count: u32) -> Result<Self> {
        let name = |number: u32| format!("many-{number:06}");
        let begin = Instant::now();
        let bodies: std::result::Result<Vec<_>, _> = (0..count).map(|number| body(&name(number), family)).collect();
        bench.services.create_all(bodies?.into_iter(), drop).await?;
        let wanted = usize::try_from(count)?;
        let all: Api<Service> = Api::namespaced(bench.kube.clone(), SPACE);
        let addresses = eventually(PATIENCE, format!("{count} Services with addresses"), async || {
            let list = all.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let addresses: Vec<IpAddr> = list.items.iter().flat_map(ingress_addresses).collect();
            if addresses.len() == wanted { Ok(addresses) } else { Err(format!("{} addresses", addresses.len())) }
        })
        .await?;
        println!("{count} Services with {} addresses: there after {}", word(family), readable(begin.elapsed()));
        Ok(Self { family, addresses, names: (0..count).map(name).collect() })
    }

    /// The number of Services.
    pub(crate) fn count(&self) -> usize {
        self.addresses.len()
    }

    /// Their number and family in words.
    pub(crate) fn words(&self) -> String {
        format!("{} remote {} addresses", self.count(), word(self.family))
    }

    /// Deletes the Services, and measures how long after the last deletion their last address is removed from the node.
    pub(crate) async fn delete(self, bench: &Bench) -> Result<Vec<Line>> {
        let mut nic = Nic::open(&bench.node, DUMMY)?;
        let count = self.count();
        nic.until("all addresses on kube-lb0", PATIENCE, |held| held.all() == count).await?;
        let what = format!("{}: the last Service's deletion to none left", self.words());
        let begin = Instant::now();
        bench.services.delete_all(self.names.into_iter()).await?;
        let deleted = Instant::now();
        let empty = nic.until("no address on kube-lb0", PATIENCE, |held| held.all() == 0).await?;
        println!("{count} Services deleted after {}", readable(deleted - begin));
        Ok(vec![Line::new(what, readable(empty.saturating_duration_since(deleted)))])
    }
}

/// A label makes kube-proxy ignore the Service, because it would keep the machine busy for minutes.
fn body(name: &str, family: Family) -> serde_json::Result<Vec<u8>> {
    let mut body = service(name, Kind::Remote.group(), None, family);
    if let Some(metadata) = body.get_mut("metadata").and_then(|metadata| metadata.as_object_mut()) {
        metadata.insert("labels".into(), json!({"service.kubernetes.io/service-proxy-name": "none"}));
    }
    serde_json::to_vec(&body)
}

/// The name of the family.
fn word(family: Family) -> &'static str {
    if family == Family::V4 { "IPv4" } else { "IPv6" }
}
