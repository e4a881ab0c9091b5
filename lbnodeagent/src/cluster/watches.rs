//! The watches: objects of the cluster become inputs of the agent.
//!
//! Each object is reduced to the part that matters before it is passed on. Of kinds with very many objects only the
//! needed fields are read at all ([`crate::cluster::partial`]).

use std::fmt::Debug;
use std::sync::Arc;

use api_types::names::GOSSIP_SECRET;
use api_types::{LBNodeAgent, ServiceGroup, lease};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use runtime::Task;
use runtime::watch::WatchUpdate;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;

use crate::cluster::endpoints::SliceView;
use crate::cluster::input::{Input, Inputs};
use crate::cluster::keys::KeyWatch;
use crate::cluster::lease::LeaseView;
use crate::cluster::node::NodeView;
use crate::cluster::partial::Partial;
use crate::cluster::service::ServiceView;

/// Starts all watches but the one of `EndpointSlices`. They end when the result is dropped. `lease_gone` is
/// notified when this node's own Lease was deleted.
#[must_use]
pub fn start(
    client: &Client,
    namespace: &str,
    node: &str,
    default_announcer: bool,
    inputs: &Inputs,
    lease_gone: Arc<Notify>,
) -> Vec<Task> {
    // Services of other types are not needed. One whose type changes is seen as deleted.
    let load_balancers = watcher::Config::default().fields("spec.type=LoadBalancer");
    let service = move |Partial(service): Partial<Service>| Some(ServiceView::new(&service, default_announcer));
    let all = watcher::Config::default;
    let source = |what| Source { what, client: client.clone(), inputs: inputs.clone() };
    vec![
        source("services").watch(Api::all, load_balancers, each(service, Input::Service)),
        source("servicegroups").watch(
            |client| Api::namespaced(client, namespace),
            all(),
            each(|group: ServiceGroup| Some(Box::new(group)), Input::Group),
        ),
        source("lbnodeagents").watch(Api::all, all(), each(|agent: LBNodeAgent| Some(Box::new(agent)), Input::Agent)),
        source("nodes").watch(Api::all, only(node), each(|node: Node| Some(NodeView::new(&node)), Input::Node)),
        source("leases").watch(
            |client| Api::namespaced(client, namespace),
            all(),
            leases(lease::name(node), lease_gone),
        ),
        source("secrets").watch(|client| Api::namespaced(client, namespace), only(GOSSIP_SECRET), keys()),
    ]
}

/// Starts the watch of `EndpointSlices`, which is needed only as long as a Service needs endpoints.
pub fn endpoint_slices(client: &Client, inputs: &Inputs) -> Task {
    let config = watcher::Config::default().labels("kubernetes.io/service-name");
    let source = Source { what: "endpointslices", client: client.clone(), inputs: inputs.clone() };
    source.watch(Api::all, config, each(|Partial(slice): Partial<EndpointSlice>| SliceView::new(&slice), Input::Slice))
}

/// Selects the object of this name. A role that grants watching by name requires this selector.
fn only(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// Passes on the needed part of each object.
fn each<K, V>(
    view: impl Fn(K) -> Option<V>,
    wrap: impl Fn(Event<V>) -> Input,
) -> impl FnMut(Event<K>) -> Option<Input> {
    move |event| {
        let event = match event {
            Event::Apply(object) => view(object).map(Event::Apply),
            Event::Delete(object) => view(object).map(Event::Delete),
            Event::InitApply(object) => view(object).map(Event::InitApply),
            Event::Init => Some(Event::Init),
            Event::InitDone => Some(Event::InitDone),
        };
        event.map(&wrap)
    }
}

/// As [`each`], and reports the deletion of this node's own Lease. Without it the other members do not know this
/// node, and the next renewal may be a minute away, so it is written again at once.
fn leases(own: String, gone: Arc<Notify>) -> impl FnMut(Event<Lease>) -> Option<Input> {
    let mut hand_on = each(|lease: Lease| LeaseView::new(&lease), Input::Lease);
    move |event| {
        if let Event::Delete(lease) = &event
            && lease.metadata.name.as_deref() == Some(own.as_str())
        {
            gone.notify_one();
        }
        hand_on(event)
    }
}

fn keys() -> impl FnMut(Event<Secret>) -> Option<Input> {
    let mut watch = KeyWatch::default();
    move |event| watch.apply(&event)
}

/// The source of a watch's objects, and their destination.
struct Source {
    what: &'static str,
    client: Client,
    inputs: Inputs,
}

impl Source {
    fn watch<K>(
        self,
        api: impl FnOnce(Client) -> Api<K>,
        config: watcher::Config,
        mut input: impl FnMut(Event<K>) -> Option<Input> + Send + 'static,
    ) -> Task
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let Self { what, client, inputs } = self;
        let mut updates = runtime::watch::updates(what, client, api, config);
        Task::spawn(async move {
            while let Some(update) = updates.next().await {
                let input = match update {
                    WatchUpdate::Event(event) => input(event),
                    WatchUpdate::Current(current) => Some(Input::Watch { name: what, current }),
                };
                let Some(input) = input else { continue };
                if inputs.send(input).await.is_err() {
                    return;
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn only_our_own_deleted_lease_is_missed() {
        let gone = Arc::new(Notify::new());
        let mut inputs = leases(lease::name("me"), gone.clone());
        let named = |name: &str| {
            let mut lease = Lease::default();
            lease.metadata.name = Some(name.to_owned());
            lease
        };
        for event in [
            Event::Apply(named("purelb-node-me")),
            Event::Delete(named("purelb-node-other")),
            Event::Delete(named("purelb-allocator")),
        ] {
            inputs(event);
        }
        assert!(gone.notified().now_or_never().is_none());
        assert!(matches!(inputs(Event::Delete(named("purelb-node-me"))), Some(Input::Lease(Event::Delete(_)))));
        assert!(gone.notified().now_or_never().is_some());
    }
}
