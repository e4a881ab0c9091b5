//! The watches: objects of the cluster become inputs of the agent.
//!
//! Each object is reduced to what we keep of it before it is handed on. Of those that there may be many of, no more is
//! read than that takes ([`crate::lean`]).

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
use tokio::sync::{Notify, mpsc};

use crate::endpoints::SliceView;
use crate::keys::KeyWatch;
use crate::lean::Lean;
use crate::members::LeaseView;
use crate::nodes::NodeView;
use crate::services::ServiceView;
use crate::world::Input;

/// The watches that decisions depend on. Endpoints matter to some Services only, and the key to nobody who has one.
pub const REQUIRED: [&str; 5] = ["services", "servicegroups", "lbnodeagents", "nodes", "leases"];

/// Where inputs go.
pub type Inputs = mpsc::Sender<Input>;

/// Starts all watches but the one of `EndpointSlices`; they end with the result. `lease_gone` hears when this node's
/// own Lease was deleted.
#[must_use]
pub fn start(
    client: &Client,
    namespace: &str,
    node: &str,
    default_announcer: bool,
    inputs: &Inputs,
    lease_gone: Arc<Notify>,
) -> Vec<Task> {
    // A Service of another type is none of our business, and one that changes its type is seen as deleted.
    let load_balancers = watcher::Config::default().fields("spec.type=LoadBalancer");
    let service = move |Lean(service): Lean<Service>| Some(ServiceView::new(&service, default_announcer));
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

/// Starts the watch of `EndpointSlices`, which runs only while a Service needs it.
pub fn endpoint_slices(client: &Client, inputs: &Inputs) -> Task {
    let config = watcher::Config::default().labels("kubernetes.io/service-name");
    let source = Source { what: "endpointslices", client: client.clone(), inputs: inputs.clone() };
    source.watch(Api::all, config, each(|Lean(slice): Lean<EndpointSlice>| SliceView::new(&slice), Input::Slice))
}

/// The object of this name. A role that grants watching by name asks for just this selector.
fn only(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// Hands on what is kept of each object.
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

/// As [`each`]. Whoever deletes our own Lease has it again at once: without it the others do not know us, and the next
/// renewal may be a minute away.
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
    move |event| watch.take(&event)
}

/// Where a watch gets its objects from, and where it hands them.
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
