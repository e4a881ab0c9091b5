//! Makes the cluster ready for the benchmark: its node, its Services.

use e2e::BenchResult as Result;
use std::{net::Ipv4Addr, time::Duration};

use e2e::{BulkServices, Cluster, Family, Node};
use kube::Client;
use serde_json::{Value, json};

/// The namespace of the Services.
pub(crate) const SPACE: &str = "bench";

/// The deadline for what has to be restored.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// The interface for remote addresses.
pub(crate) const DUMMY: &str = "kube-lb0";

/// The pools. Calico exports none of them.
const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: bench}
---
apiVersion: purelb.io/v2
kind: ServiceGroup
metadata: {name: local, namespace: purelb}
spec: {local: {v4pools: [{pool: 192.168.50.128-192.168.50.227, subnet: 192.168.50.0/24}]}}
---
apiVersion: purelb.io/v2
kind: ServiceGroup
metadata: {name: remote, namespace: purelb}
spec:
  remote:
    v4pool: {pool: 10.128.0.0/16, subnet: 10.128.0.0/16, aggregation: /32}
    v6pool: {pool: 'fd00:128::/64', subnet: 'fd00:128::/64', aggregation: /128}
";

/// The cluster, its only node, and its Services.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) node: Node,
    pub(crate) kube: Client,
    pub(crate) services: BulkServices,
}

/// Makes the cluster ready and removes what an earlier run has left.
pub(crate) async fn prepare(name: &str) -> Result<Bench> {
    let cluster = Cluster::attach(name)?;
    if cluster.nodes().count() != 1 {
        return Err(format!("cluster {name} has more than one node: start it with `lab up --nodes 1`").into());
    }
    cluster.repair().await?;
    cluster.install()?;
    cluster.apply(OBJECTS)?;
    // The client of the programs: another one might pause between the head and the body of a request, and the pause
    // would count as theirs.
    let kube = runtime::client::connect(Some(&cluster.kubeconfig()), "bench").await?;
    let services = BulkServices::new(kube.clone(), SPACE);
    let bench = Bench { node: cluster.node(1), cluster, kube, services };
    bench.select(true).await?;
    let left = bench.services.list().await?.into_iter().map(|service| service.metadata.name);
    bench.services.delete_all(left).await?;
    // A new process, whose memory has not grown yet.
    bench.no_agent().await?;
    bench.all_agents()?;
    bench.cluster.agents_ready(PATIENCE).await?;
    // Wait until the work after the installation is done.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(bench)
}

/// The kind of a single Service's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    Remote,
}

impl Kind {
    /// The ServiceGroup.
    pub(crate) fn group(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }

    /// The node's interface.
    pub(crate) fn interface(self) -> &'static str {
        match self {
            Self::Local => "eth0",
            Self::Remote => DUMMY,
        }
    }

    /// An address of the group's pool for a run. Runs have different addresses while there are enough, so that no
    /// neighbour cache contains them.
    pub(crate) fn address(self, run: u32) -> Ipv4Addr {
        let [_, _, _, step] = (run % 100).to_be_bytes();
        match self {
            Self::Local => Ipv4Addr::new(192, 168, 50, 128 + step),
            Self::Remote => Ipv4Addr::new(10, 128, 200, step),
        }
    }
}

/// A Service with an address of one family from this group.
pub(crate) fn service(name: &str, group: &str, address: Option<Ipv4Addr>, family: Family) -> Value {
    let mut annotations = json!({"purelb.io/service-group": group});
    if let (Some(address), Some(annotations)) = (address, annotations.as_object_mut()) {
        annotations.insert("purelb.io/addresses".into(), address.to_string().into());
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false,
            "ipFamilies": [if family == Family::V4 { "IPv4" } else { "IPv6" }],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "http", "port": 80}],
        },
    })
}
