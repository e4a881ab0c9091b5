//! The watches, as one stream of inputs.

use std::fmt::Debug;

use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};
use runtime::watch::{Refused, WatchUpdate, events, optional_events, updates};

use crate::model::{
    ExternalIps, GroupId, GroupObject, Leftover, Node, Service, ServiceName, Slice, WatchedExternalIps, WatchedGroup,
    WatchedNode, WatchedService,
};

/// A change that the API server reports.
#[derive(Debug)]
pub(super) enum Input {
    Service(Box<Service>),
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
    Node(Node),
    NodeGone(String),
    /// The complete list.
    Nodes(Vec<Node>),
    /// Of a Service of another type; none if it is gone.
    ExternalIps(ServiceName, ExternalIps),
    /// The complete list, without Services that have none.
    AllExternalIps(Vec<(ServiceName, ExternalIps)>),
    ServiceCidr(Box<ServiceCIDR>),
    ServiceCidrGone(Box<ServiceCIDR>),
    /// The complete list.
    ServiceCidrs(Vec<ServiceCIDR>),
    Slice(Slice),
    /// Its Service and its name.
    SliceGone(ServiceName, Box<str>),
    /// The complete list.
    Slices(Vec<Slice>),
    /// An EndpointSlice that belongs to no Service.
    Irrelevant,
    /// The API server does not let us read these.
    Refused(Optional),
    /// Whether the watch of these is current.
    Current(Essential, bool),
}

/// What no leader can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Essential {
    Services,
    Groups,
}

/// What this program can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Optional {
    Nodes,
    ServiceCidrs,
    EndpointSlices,
}

/// Objects per page of a list. The pages take most of the memory at the start, so they are small.
const PAGE: u32 = 250;

/// Opens all watches. Each begins with a most recent list.
pub(super) fn open(client: &Client, namespace: &str, default_announcer: bool) -> BoxStream<'static, Input> {
    let services = inputs(
        essential(
            updates("Services", client.clone(), Api::all, paged().fields("spec.type=LoadBalancer")),
            Essential::Services,
        ),
        move |object: &WatchedService| object.keep(default_announcer),
        Input::Services,
        // The selector lets no object of another type through. Should one come, it is not ours.
        move |object| match object.keep(default_announcer) {
            Some(service) => Input::Service(Box::new(service)),
            None => Input::ServiceGone(object.as_leftover()),
        },
        |object| Input::ServiceGone(object.as_leftover()),
    );
    let groups = inputs(
        essential(updates("ServiceGroups", client.clone(), Api::all, paged()), Essential::Groups),
        |object: &WatchedGroup| Some(GroupObject::new(object)),
        Input::Groups,
        |object| Input::Group(Box::new(GroupObject::new(&object))),
        |object| Input::GroupGone(object.id()),
    );
    let leases = inputs(
        events("Leases", Api::namespaced(client.clone(), namespace), paged()).map(Ok),
        |lease: &Lease| Some(lease.clone()),
        Input::Leases,
        |lease| Input::Lease(Box::new(lease)),
        |lease| Input::LeaseGone(Box::new(lease)),
    );
    select_all([services, groups, leases, nodes(client), external_ips(client), service_cidrs(client)]).boxed()
}

fn nodes(client: &Client) -> BoxStream<'static, Input> {
    inputs(
        optional_events("Nodes", Api::all(client.clone()), paged())
            .map(|event| event.map_err(|Refused| Input::Refused(Optional::Nodes))),
        |node: &WatchedNode| Some(node.keep()),
        Input::Nodes,
        |node| Input::Node(node.keep()),
        |node| Input::NodeGone(node.keep().name),
    )
}

fn external_ips(client: &Client) -> BoxStream<'static, Input> {
    inputs(
        events("Services of other types", Api::all(client.clone()), paged().fields("spec.type!=LoadBalancer")).map(Ok),
        |object: &WatchedExternalIps| {
            Some((object.name(), object.external_ips())).filter(|(_, ips)| !ips.addresses.is_empty())
        },
        Input::AllExternalIps,
        |object| Input::ExternalIps(object.name(), object.external_ips()),
        |object| Input::ExternalIps(object.name(), ExternalIps::default()),
    )
}

fn service_cidrs(client: &Client) -> BoxStream<'static, Input> {
    inputs(
        optional_events("ServiceCIDRs", Api::all(client.clone()), paged())
            .map(|event| event.map_err(|Refused| Input::Refused(Optional::ServiceCidrs))),
        |object: &ServiceCIDR| Some(object.clone()),
        Input::ServiceCidrs,
        |object| Input::ServiceCidr(Box::new(object)),
        |object| Input::ServiceCidrGone(Box::new(object)),
    )
}

/// Opens the watch of `EndpointSlices`, of which little is kept.
pub(super) fn endpoint_slices(client: &Client) -> BoxStream<'static, Input> {
    let gone = |slice: &EndpointSlice| {
        Slice::key(slice).map_or(Input::Irrelevant, |(service, name)| Input::SliceGone(service, name))
    };
    inputs(
        optional_events("EndpointSlices", Api::all(client.clone()), paged())
            .map(|event| event.map_err(|Refused| Input::Refused(Optional::EndpointSlices))),
        Slice::keep,
        Input::Slices,
        move |slice| Slice::keep(&slice).map_or_else(|| gone(&slice), Input::Slice),
        move |slice| gone(&slice),
    )
}

/// The events of a watch. Whether it is current is an input itself.
fn essential<K: Send + 'static>(
    updates: BoxStream<'static, WatchUpdate<K>>,
    what: Essential,
) -> impl Stream<Item = Result<Event<K>, Input>> + Send {
    updates.map(move |update| match update {
        WatchUpdate::Event(event) => Ok(event),
        WatchUpdate::Current(current) => Err(Input::Current(what, current)),
    })
}

fn paged() -> Config {
    Config::default().page_size(PAGE)
}

/// The inputs of one watch, whose errors are inputs themselves: `keep` reduces an object of a list, the others make inputs.
fn inputs<K, T>(
    events: impl Stream<Item = Result<Event<K>, Input>> + Send + 'static,
    keep: impl Fn(&K) -> Option<T> + Send + 'static,
    listed: impl Fn(Vec<T>) -> Input + Send + 'static,
    applied: impl Fn(K) -> Input + Send + 'static,
    deleted: impl Fn(K) -> Input + Send + 'static,
) -> BoxStream<'static, Input>
where
    K: Send + 'static,
    T: Send + 'static,
{
    let mut list = Vec::new();
    let inputs = events.filter_map(move |event| {
        let input = match event {
            Ok(Event::Init) => {
                list.clear();
                None
            }
            Ok(Event::InitApply(object)) => {
                list.extend(keep(&object));
                None
            }
            Ok(Event::InitDone) => Some(listed(std::mem::take(&mut list))),
            Ok(Event::Apply(object)) => Some(applied(object)),
            Ok(Event::Delete(object)) => Some(deleted(object)),
            Err(input) => Some(input),
        };
        std::future::ready(input)
    });
    inputs.boxed()
}
