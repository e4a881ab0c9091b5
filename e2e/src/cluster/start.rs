//! Starts a cluster: credentials, hosts, then what Kubernetes and Calico have from their beginning.

use std::{fs, net::TcpListener, os::unix::fs::DirBuilderExt, time::Duration};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, Patch, PatchParams, PostParams},
    core::{DynamicObject, GroupVersionKind, TypeMeta},
};
use serde::Deserialize;

use crate::{
    base::{
        error::{Doing, Error, Result, unexpected},
        wait::{eventually, eventually_blocking},
    },
    cluster::{
        handle::{Cluster, Record},
        lock::ClusterLock,
        specs::{control_plane::node_object, shape::ClusterShape, write::write},
        stop,
    },
    hosts::{boot::BootingHost, cables, host::Host},
    kubernetes::credentials,
    topology::{
        host_id::{HostId, MOST_NODES},
        layout::Layout,
        prepared,
    },
};

/// Calico's objects that every cluster has from its beginning.
const CALICO: &str = include_str!("../../fixtures/calico-crds.yaml");
const PEERS: &str = include_str!("../../fixtures/bgp-peers.yaml");

/// For each thing waited for; a start takes ten seconds altogether on two cores.
const PATIENCE: Duration = Duration::from_secs(90);

impl Cluster {
    /// Starts a cluster with nodes `node1` to `nodeN`, and returns when all are Ready and peer with the router.
    ///
    /// # Errors
    /// One of that name is running, the machine is not prepared, or something does not start. What was started is
    /// stopped again then, but the log files stay until the next start.
    pub async fn start(name: &str, nodes: u8) -> Result<Self> {
        Self::start_with_progress(name, nodes, |_| ()).await
    }

    /// [`Self::start`] with a callback that gets a line for each step.
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub async fn start_with_progress(name: &str, nodes: u8, progress: impl Fn(&str)) -> Result<Self> {
        let layout = Layout::new(name)?;
        let _lock = ClusterLock::acquire(&layout, Duration::from_secs(60))?;
        Self::start_locked(layout, nodes, &progress).await
    }

    /// [`Self::start`] for a caller that has the cluster's lock.
    pub(crate) async fn start_locked(layout: Layout, nodes: u8, progress: &dyn Fn(&str)) -> Result<Self> {
        if !(1..=MOST_NODES).contains(&nodes) {
            return Err(Error::Refused(format!("a cluster has 1 to {MOST_NODES} nodes, not {nodes}")));
        }
        if Self::open(layout.clone()).is_ok() {
            return Err(Error::RunningAlready(layout.name().to_owned()));
        }
        // Whatever an earlier start left that did not get this far.
        stop::stop(&layout)?;
        let record = Record { nodes };
        let cluster = Self::from_record(layout, record);
        match bring_up(&cluster, progress).await {
            Ok(()) => Ok(cluster),
            Err(source) => {
                stop::stop_processes(cluster.layout())?;
                let (cluster, logs) = (cluster.layout().name().to_owned(), cluster.layout().hosts());
                Err(Error::Start { cluster, logs, source: Box::new(source) })
            }
        }
    }
}

async fn bring_up(cluster: &Cluster, progress: &dyn Fn(&str)) -> Result<()> {
    let layout = cluster.layout();
    let nodes = cluster.record().nodes;
    let programs = prepared::programs()?;
    prepared::images()?;
    let shape = ClusterShape { layout, programs: &programs, nodes };

    progress("making keys and certificates");
    for host in HostId::all(nodes) {
        let directory = layout.host(host);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .doing(|| format!("make {}", directory.display()))?;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).doing(|| "listen on the loopback interface".into())?;
    let port = listener.local_addr().doing(|| "listen on the loopback interface".into())?.port();
    credentials::make(layout, nodes, port)?;

    progress("switching on the switch, the router, the client, the control plane and the nodes");
    // The switch first: all cables end in it, and whether the kernel has dummy interfaces is tried there.
    write(shape, HostId::Switch)?;
    cluster.host(HostId::Switch).boot(None)?.go()?;
    if !cables::has_dummy(layout) {
        progress("this kernel has no dummy interfaces: an ifb device stands in for kube-lb0");
    }
    boot(cluster, shape, &listener)?;
    drop(listener);

    progress("waiting for the API server, loading images into the nodes");
    let (api, images) = tokio::join!(serve(cluster), load_images(cluster));
    api?;
    images?;

    progress("waiting for the nodes to become Ready and to peer with the router");
    cluster.nodes_ready(PATIENCE).await?;
    cluster.peered(PATIENCE).await?;
    let record = serde_json::to_vec(cluster.record()).map_err(|error| unexpected("the record", error))?;
    fs::write(layout.record(), record).doing(|| format!("write {}", layout.record().display()))
}

/// Brings up all hosts but the switch.
fn boot(cluster: &Cluster, shape: ClusterShape<'_>, listener: &TcpListener) -> Result<()> {
    let hosts: Vec<Host> = cluster.hosts().filter(|host| host.id() != HostId::Switch).collect();
    let mut waiting = Vec::new();
    for host in &hosts {
        write(shape, host.id())?;
        waiting.push(host.boot((host.id() == HostId::Control).then_some(listener))?);
        cables::plug_in(shape.layout, host.id())?;
    }
    cables::behind_the_router(shape.layout)?;
    waiting.into_iter().try_for_each(BootingHost::go)
}

/// Waits for the API server, and creates the objects that every cluster has from its beginning.
async fn serve(cluster: &Cluster) -> Result<()> {
    let layout = cluster.layout();
    let client = cluster.kube().await?;
    eventually(PATIENCE, "the API server ready", async || {
        let request = http_get("/readyz")?;
        client.request_text(request).await.map_err(Error::from)
    })
    .await?;
    let nodes: Api<NodeObject> = Api::all(client.clone());
    for number in 1..=cluster.record().nodes {
        let node = serde_json::from_value(node_object(number)).map_err(|error| unexpected("a Node", error))?;
        nodes.create(&PostParams::default(), &node).await?;
    }
    fs::write(layout.api_ready(), "").doing(|| "mark the API server as ready".into())?;
    calico(cluster, client).await
}

/// Calico's custom resources, and the peering of all nodes with the router.
async fn calico(cluster: &Cluster, client: Client) -> Result<()> {
    let parameters = PatchParams::apply("purelb-lab").force();
    for object in [CALICO, PEERS].map(documents).into_iter().collect::<Result<Vec<_>>>()?.iter().flatten() {
        let kind = object.types.as_ref().ok_or_else(|| unexpected("a fixture", "no kind"))?;
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
        let name = object.name_any();
        // A custom resource is served a moment after its definition was accepted.
        eventually(PATIENCE, format!("{} {name} accepted", kind.kind), async || {
            api.patch(&name, &parameters, &Patch::Apply(object)).await
        })
        .await?;
    }
    let ready = cluster.layout().calico_ready();
    fs::write(&ready, "").doing(|| format!("write {}", ready.display()))
}

fn documents(yaml: &str) -> Result<Vec<DynamicObject>> {
    serde_yaml_ng::Deserializer::from_str(yaml)
        .map(|document| DynamicObject::deserialize(document).map_err(|error| unexpected("a fixture", error)))
        .collect()
}

fn resource(kind: &TypeMeta) -> ApiResource {
    let (group, version) = kind.api_version.split_once('/').unwrap_or(("", &kind.api_version));
    // Regular plurals, all of them.
    let plural = format!("{}s", kind.kind.to_lowercase());
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &kind.kind), &plural)
}

async fn load_images(cluster: &Cluster) -> Result<()> {
    let mut loads = tokio::task::JoinSet::new();
    for node in cluster.nodes() {
        loads.spawn_blocking(move || {
            // containerd needs a moment to listen.
            eventually_blocking(PATIENCE, format!("images in {}", node.name()), || node.load_first_images())
        });
    }
    while let Some(load) = loads.join_next().await {
        load.map_err(|error| unexpected("loading images", error))??;
    }
    Ok(())
}

fn http_get(path: &str) -> Result<http::Request<Vec<u8>>> {
    http::Request::get(path).body(Vec::new()).map_err(|error| unexpected("a request", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixtures_are_objects_of_known_resources() {
        let plurals = |yaml| -> Vec<_> {
            documents(yaml).unwrap().iter().map(|object| resource(object.types.as_ref().unwrap()).plural).collect()
        };
        assert_eq!(plurals(CALICO), ["customresourcedefinitions"; 3]);
        assert_eq!(plurals(PEERS), ["bgppeers"; 2]);
    }
}
