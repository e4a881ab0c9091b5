//! The watches, as one stream of inputs.

use std::fmt::Debug;

use futures::StreamExt;
use futures::stream::{BoxStream, select};
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::model::{GroupId, GroupObject, Leftover, Service, WatchedGroup, WatchedService};

/// A change that the API server reports.
#[derive(Debug)]
pub(super) enum Input {
    Service(Service),
    ServiceGone(Leftover),
    /// The complete list.
    Services(Vec<Service>),
    Group(Box<GroupObject>),
    GroupGone(GroupId),
    /// The complete list.
    Groups(Vec<GroupObject>),
    Lease(Box<Lease>),
    LeaseGone(Box<Lease>),
    /// The complete list.
    Leases(Vec<Lease>),
}

/// Objects per page of a list. The pages take most of the memory at the start, so they are small.
const PAGE: u32 = 250;

/// Opens all watches. Each begins with a most recent list.
pub(super) fn open(client: &Client, namespace: &str, default_announcer: bool) -> BoxStream<'static, Input> {
    let services = inputs(
        "Services",
        Api::all(client.clone()),
        Config::default().fields("spec.type=LoadBalancer"),
        move |object: &WatchedService| object.keep(default_announcer),
        Input::Services,
        // The selector lets no object of another type through. Should one come, it is not ours.
        move |object| match object.keep(default_announcer) {
            Some(service) => Input::Service(service),
            None => Input::ServiceGone(object.as_leftover()),
        },
        |object| Input::ServiceGone(object.as_leftover()),
    );
    let groups = inputs(
        "ServiceGroups",
        Api::all(client.clone()),
        Config::default(),
        |object: &WatchedGroup| Some(object.keep()),
        Input::Groups,
        |object| Input::Group(Box::new(object.keep())),
        |object| {
            let GroupObject { namespace, name, .. } = object.keep();
            Input::GroupGone((namespace, name))
        },
    );
    let leases = inputs(
        "Leases",
        Api::namespaced(client.clone(), namespace),
        Config::default(),
        |lease: &Lease| Some(lease.clone()),
        Input::Leases,
        |lease| Input::Lease(Box::new(lease)),
        |lease| Input::LeaseGone(Box::new(lease)),
    );
    select(services, select(groups, leases)).boxed()
}

/// One watch: `keep` reduces an object of a list, the others make inputs.
fn inputs<K, T>(
    what: &'static str,
    api: Api<K>,
    config: Config,
    keep: impl Fn(&K) -> Option<T> + Send + 'static,
    listed: impl Fn(Vec<T>) -> Input + Send + 'static,
    applied: impl Fn(K) -> Input + Send + 'static,
    deleted: impl Fn(K) -> Input + Send + 'static,
) -> BoxStream<'static, Input>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    T: Send + 'static,
{
    let mut list = Vec::new();
    let events = runtime::watch::events(what, api, config.page_size(PAGE)).filter_map(move |event| {
        let input = match event {
            Event::Init => {
                list.clear();
                None
            }
            Event::InitApply(object) => {
                list.extend(keep(&object));
                None
            }
            Event::InitDone => Some(listed(std::mem::take(&mut list))),
            Event::Apply(object) => Some(applied(object)),
            Event::Delete(object) => Some(deleted(object)),
        };
        std::future::ready(input)
    });
    events.boxed()
}
