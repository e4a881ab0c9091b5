//! Makes the cluster ready for the benchmark.

use e2e::BenchResult as Result;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use e2e::{Cluster, HostId};

use crate::{
    bench::Bench,
    service::{BACKEND, SERVICE, SPACE, service, slices},
};

/// Makes the cluster ready: the load balancer, the pools of the local sample, the Service and its backend.
pub(crate) async fn prepare(name: &str, busy: Duration) -> Result<Bench> {
    let cluster = Cluster::attach(name)?;
    cluster.repair().await?;
    cluster.install()?;
    cluster.apply_kustomization("manifests/samples/local")?;
    cluster.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {SPACE}}}}}"))?;
    let backend = cluster.host(HostId::Router).accept(BACKEND)?;
    let addresses = addresses(&cluster)?;
    cluster.apply(&service(SERVICE, addresses))?;
    cluster.apply(&slices(SERVICE))?;
    let kube = cluster.kube().await?;
    let bench = Bench { cluster, kube, addresses, busy, _backend: backend };
    bench.cluster.service_addresses(SPACE, SERVICE, 2).await?;
    bench.restore().await?;
    // Wait until the work after the installation is done.
    bench.cluster.agents_ready(Duration::from_secs(60)).await?;
    Ok(bench)
}

/// An address of each family with the same order of nodes.
fn addresses(cluster: &Cluster) -> Result<[IpAddr; 2]> {
    let v4 = IpAddr::from(Ipv4Addr::new(192, 168, 50, 210));
    let v6 = (0x210..0x2f0).map(|last| IpAddr::from(Ipv6Addr::new(0xfd00, 0x50, 0, 0, 0, 0, 0, last)));
    let v6 = cluster.with_same_order(v4, v6);
    Ok([v4, v6.ok_or("no address of the pool has the same order of nodes: use fewer nodes")?])
}
