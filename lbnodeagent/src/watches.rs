//! The watches: objects of the cluster become inputs of the agent.
//!
//! Each object is reduced to what we keep of it before it is handed on, so memory holds whole
//! objects one page at a time at most.

use std::fmt::Debug;

use api_types::{LBNodeAgent, ServiceGroup};
use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use runtime::Task;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::endpoints::SliceView;
use crate::members::LeaseView;
use crate::nodes::NodeView;
use crate::services::ServiceView;
use crate::world::Input;

/// Where inputs go.
pub type Inputs = mpsc::Sender<Input>;

/// Starts all watches but the one of `EndpointSlices`; they end with the result.
#[must_use]
pub fn start(client: &Client, namespace: &str, node: &str, default_announcer: bool, inputs: &Inputs) -> Vec<Task> {
    // A Service of another type is none of our business, and one that changes its type is seen as deleted.
    let load_balancers = watcher::Config::default().fields("spec.type=LoadBalancer");
    let this_node = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let all = watcher::Config::default;
    vec![
        watch(
            "services",
            Api::all(client.clone()),
            load_balancers,
            inputs,
            move |service: Service| Some(ServiceView::new(&service, default_announcer)),
            Input::Service,
        ),
        watch(
            "servicegroups",
            Api::namespaced(client.clone(), namespace),
            all(),
            inputs,
            |group: ServiceGroup| Some(Box::new(group)),
            Input::Group,
        ),
        watch(
            "lbnodeagents",
            Api::all(client.clone()),
            all(),
            inputs,
            |agent: LBNodeAgent| Some(Box::new(agent)),
            Input::Agent,
        ),
        watch(
            "nodes",
            Api::all(client.clone()),
            this_node,
            inputs,
            |node: Node| Some(NodeView::new(&node)),
            Input::Node,
        ),
        watch(
            "leases",
            Api::namespaced(client.clone(), namespace),
            all(),
            inputs,
            |lease: Lease| LeaseView::new(&lease),
            Input::Lease,
        ),
    ]
}

/// Starts the watch of `EndpointSlices`, which runs only while a Service needs it.
pub fn endpoint_slices(client: &Client, inputs: &Inputs) -> Task {
    let config = watcher::Config::default().labels("kubernetes.io/service-name");
    watch(
        "endpointslices",
        Api::all(client.clone()),
        config,
        inputs,
        |slice: EndpointSlice| SliceView::new(&slice),
        Input::Slice,
    )
}

fn watch<K, V>(
    what: &'static str,
    api: Api<K>,
    config: watcher::Config,
    inputs: &Inputs,
    view: impl Fn(K) -> Option<V> + Send + 'static,
    wrap: impl Fn(Event<V>) -> Input + Send + 'static,
) -> Task
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    V: Send + 'static,
{
    let inputs = inputs.clone();
    Task::spawn(async move {
        let mut events = Box::pin(runtime::watch::events(what, api, config));
        while let Some(event) = events.next().await {
            let event = match event {
                Event::Apply(object) => view(object).map(Event::Apply),
                Event::Delete(object) => view(object).map(Event::Delete),
                Event::InitApply(object) => view(object).map(Event::InitApply),
                Event::Init => Some(Event::Init),
                Event::InitDone => Some(Event::InitDone),
            };
            let Some(event) = event else { continue };
            if inputs.send(wrap(event)).await.is_err() {
                return;
            }
        }
    })
}
