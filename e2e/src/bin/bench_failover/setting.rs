//! The cluster made ready, and the Service.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use e2e::{Cluster, Family, HostId};

use super::{Result, bench::Bench};

/// The namespace of the Service.
pub(crate) const SPACE: &str = "bench";

/// The Service.
pub(crate) const SERVICE: &str = "web";

/// Where the backend listens, on the router.
const BACKEND: u16 = 8080;

/// Makes the cluster ready: the load balancer, the pools of the local sample, the Service and its backend.
pub(crate) async fn prepare(name: &str) -> Result<Bench> {
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
    let bench = Bench { cluster, kube, addresses, _backend: backend };
    bench.cluster.service_addresses(SPACE, SERVICE, 2).await?;
    bench.as_before().await?;
    // The manifests are applied to whatever was there, and what that brings is over then.
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

/// A dual-stack Service with these addresses and without selector.
pub(crate) fn service(name: &str, [v4, v6]: [IpAddr; 2]) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {SPACE}
  annotations: {{purelb.io/addresses: "{v4},{v6}"}}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ports: [{{name: http, port: {port}, targetPort: {BACKEND}}}]
"#,
        port = super::watch::PORT
    )
}

/// The backend of a Service: the router, in both families.
pub(crate) fn slices(name: &str) -> String {
    let router = HostId::Router;
    let slice = |family: Family, kind: &str, address: &str| {
        format!(
            r#"---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{family:?}
  namespace: {SPACE}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: {kind}
endpoints: [{{addresses: ["{address}"], conditions: {{ready: true}}}}]
ports: [{{name: http, port: {BACKEND}, protocol: TCP}}]
"#
        )
        .replace("-V4\n", "-v4\n")
        .replace("-V6\n", "-v6\n")
    };
    slice(Family::V4, "IPv4", &router.ipv4().to_string()) + &slice(Family::V6, "IPv6", &router.ipv6().to_string())
}
