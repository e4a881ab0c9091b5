//! Watches Calico's objects and the nodes, writes each BIRD's configuration, and has BIRD read it.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Write},
    net::IpAddr,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use futures::{FutureExt, Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::{WatchStreamExt, reflector, reflector::Store, watcher},
};
use serde::de::DeserializeOwned;

use crate::routing::calico::{
    bird::{Neighborhood, bird_config},
    objects::{BgpConfiguration, BgpPeer, Calico, IpPool, NodeAddresses},
    paths::bird_paths,
};
use api_types::Family;

use crate::{
    base::error::{Doing, Result, unexpected},
    kubernetes::{client, credentials::User},
    topology::{family::FamilyNames as _, host_id::HostId, layout::Layout},
};

/// Changes that come together make one configuration.
const TOGETHER: Duration = Duration::from_millis(20);

/// A BIRD that does not answer is asked again after this time.
const RETRY: Duration = Duration::from_millis(500);

/// The hidden subcommand `lab calico`; ends only with an error.
///
/// # Errors
/// The cluster's credentials cannot be used.
pub async fn run(layout: &Layout) -> Result<()> {
    let client = client::connect(&User::Admin.kubeconfig(layout)).await?;
    let (pools, pool_changes) = watch_custom(&client, "IPPool", "ippools");
    let (configurations, configuration_changes) = watch_custom(&client, "BGPConfiguration", "bgpconfigurations");
    let (peers, peer_changes) = watch_custom(&client, "BGPPeer", "bgppeers");
    let (nodes, node_changes) = follow(Api::<Node>::all(client), ());
    let mut changes = stream::select_all([pool_changes, configuration_changes, peer_changes, node_changes]);
    let mut unread = BTreeSet::new();
    loop {
        // Without a change there is something to do only while a BIRD has not read its file.
        let wait = if unread.is_empty() { Duration::from_secs(3600) } else { RETRY };
        let _ = tokio::time::timeout(wait, changes.next()).await;
        tokio::time::sleep(TOGETHER).await;
        while changes.next().now_or_never().is_some() {}
        let complete = [&pools, &configurations, &peers].into_iter().all(is_complete) && is_complete(&nodes);
        if !complete {
            continue;
        }
        let configuration = configurations.state().into_iter().find(|object| object.name_any() == "default");
        let calico = Calico {
            pools: specs::<IpPool>(&pools),
            configuration: configuration.and_then(|object| spec::<BgpConfiguration>(&object)).unwrap_or_default(),
            peers: specs::<BgpPeer>(&peers),
        };
        let mut nodes: Vec<_> = nodes.state().iter().filter_map(|node| addresses(node)).collect();
        nodes.sort_by(|left, right| left.name.cmp(&right.name));
        unread.extend(write_all(layout, &calico, &nodes)?);
        unread.retain(|(host, family)| {
            let (_, socket) = bird_paths(layout, *host, *family);
            reconfigure(&socket).inspect_err(|error| eprintln!("{host} {}: {error}", family.bird())).is_err()
        });
    }
}

/// Writes what has changed and returns whose it was.
fn write_all(layout: &Layout, calico: &Calico, nodes: &[NodeAddresses]) -> Result<Vec<(HostId, Family)>> {
    let mut changed = Vec::new();
    for node in nodes {
        let Ok(host) = node.name.parse::<HostId>() else { continue };
        for family in Family::ALL {
            let Some(text) = bird_config(Neighborhood { node, all: nodes }, calico, family) else { continue };
            let (file, _) = bird_paths(layout, host, family);
            if fs::read_to_string(&file).is_ok_and(|present| present == text) {
                continue;
            }
            // BIRD may start at any time and must not read half a file.
            let part = file.with_extension("part");
            fs::write(&part, &text)
                .and_then(|()| fs::rename(&part, &file))
                .doing(|| format!("write {}", file.display()))?;
            changed.push((host, family));
        }
    }
    Ok(changed)
}

/// Has BIRD read its configuration file again.
fn reconfigure(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket).doing(|| format!("connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).doing(|| "set a deadline".into())?;
    stream.write_all(b"configure\n").doing(|| "write to BIRD".into())?;
    let mut answers = BufReader::new(stream).lines();
    // The greeting comes first, then the answer; a line is the last one of either if a blank follows its number.
    let mut last = || -> Result<String> {
        for line in answers.by_ref() {
            let line = line.doing(|| "read from BIRD".into())?;
            if line.as_bytes().get(4) == Some(&b' ') && line.starts_with(|first: char| first.is_ascii_digit()) {
                return Ok(line);
            }
        }
        Err(unexpected("BIRD's answer", "it hung up"))
    };
    last()?;
    let answer = last()?;
    if answer.starts_with('0') { Ok(()) } else { Err(unexpected("BIRD's answer", answer)) }
}

type Changes = stream::BoxStream<'static, ()>;

fn watch_custom(client: &Client, kind: &str, plural: &str) -> (Store<DynamicObject>, Changes) {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("crd.projectcalico.org", "v1", kind), plural);
    follow(Api::all_with(client.clone(), &resource), resource)
}

/// A copy of all objects of one kind, and a stream with an item for each change of it.
fn follow<K>(api: Api<K>, kind: K::DynamicType) -> (Store<K>, Changes)
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    K::DynamicType: Clone + Eq + std::hash::Hash + Send + Sync + 'static,
{
    let writer = reflector::store::Writer::new(kind);
    let store = writer.as_reader();
    (store, changes(reflector(writer, watcher(api, watcher::Config::default()).default_backoff())).boxed())
}

fn changes<T: std::fmt::Debug>(
    events: impl Stream<Item = std::result::Result<T, watcher::Error>> + Send,
) -> impl Stream<Item = ()> + Send {
    events.map(|event| {
        if let Err(error) = event {
            eprintln!("watch: {error}");
        }
    })
}

fn is_complete<K>(store: &Store<K>) -> bool
where
    K: Resource + Clone + 'static,
    K::DynamicType: Clone + Eq + std::hash::Hash,
{
    store.wait_until_ready().now_or_never().is_some()
}

fn specs<T: DeserializeOwned>(store: &Store<DynamicObject>) -> Vec<T> {
    let mut objects = store.state();
    objects.sort_by_key(|object| object.name_any());
    objects.iter().filter_map(|object| spec(object)).collect()
}

fn spec<T: DeserializeOwned>(object: &DynamicObject) -> Option<T> {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    serde_json::from_value(spec).inspect_err(|error| eprintln!("{}: {error}", object.name_any())).ok()
}

/// A node whose kubelet has not reported its addresses yet takes no part.
fn addresses(node: &Node) -> Option<NodeAddresses> {
    let all = node.status.as_ref()?.addresses.as_ref()?;
    let mut internal = all
        .iter()
        .filter(|address| address.type_ == "InternalIP")
        .filter_map(|address| address.address.parse::<IpAddr>().ok());
    let ipv4 = internal.clone().find_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })?;
    let ipv6 = internal.find_map(|address| match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    Some(NodeAddresses { name: node.name_any(), ipv4, ipv6 })
}
