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

/// The allocator gives addresses while Services are created, which takes minutes; after that this is plenty.
const PATIENCE: Duration = Duration::from_secs(120);

/// Services with one remote address of one family each.
#[derive(Debug)]
pub(crate) struct Many {
    pub(crate) family: Family,
    pub(crate) addresses: Vec<IpAddr>,
    names: Vec<String>,
}

impl Many {
    /// Creates them and waits until each has its address.
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

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.addresses.len()
    }

    /// In words: how many, of which family.
    pub(crate) fn words(&self) -> String {
        format!("{} remote {} addresses", self.count(), word(self.family))
    }

    /// Deletes them with their addresses on the node, and measures how long that lags behind.
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

/// Not served by kube-proxy, which would take the machine for minutes.
fn body(name: &str, family: Family) -> serde_json::Result<Vec<u8>> {
    let mut body = service(name, Kind::Remote.group(), None, family);
    if let Some(metadata) = body.get_mut("metadata").and_then(|metadata| metadata.as_object_mut()) {
        metadata.insert("labels".into(), json!({"service.kubernetes.io/service-proxy-name": "none"}));
    }
    serde_json::to_vec(&body)
}

/// The family as people write it.
fn word(family: Family) -> &'static str {
    if family == Family::V4 { "IPv4" } else { "IPv6" }
}
