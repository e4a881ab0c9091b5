//! The watches, as one stream of inputs.

use futures::StreamExt;
use futures::stream::{BoxStream, select};
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};

use crate::groups::{GroupId, GroupObject, WatchedGroup};
use crate::service::{Leftover, Service, Watched};

/// Something that the API server told.
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

/// Objects per page of a list: small, because the pages are what costs memory at the start.
const PAGE: u32 = 250;

/// Opens all watches; each begins with a most recent list.
pub(super) fn open(client: &Client, namespace: &str, default_announcer: bool) -> BoxStream<'static, Input> {
    let services = services(Api::all(client.clone()), default_announcer);
    let groups = groups(Api::all(client.clone()));
    let leases = leases(Api::namespaced(client.clone(), namespace));
    select(services, select(groups, leases)).boxed()
}

fn services(api: Api<Watched>, default_announcer: bool) -> BoxStream<'static, Input> {
    let config = Config::default().fields("spec.type=LoadBalancer").page_size(PAGE);
    let mut list = Vec::new();
    let events = runtime::watch::events("Services", api, config).filter_map(move |event| {
        let input = match event {
            Event::Init => {
                list.clear();
                None
            }
            Event::InitApply(object) => {
                list.extend(object.reduce(default_announcer));
                None
            }
            Event::InitDone => Some(Input::Services(std::mem::take(&mut list))),
            // An object of another type cannot come here; if it does, it is not ours.
            Event::Apply(object) => Some(match object.reduce(default_announcer) {
                Some(service) => Input::Service(service),
                None => Input::ServiceGone(object.trace()),
            }),
            Event::Delete(object) => Some(Input::ServiceGone(object.trace())),
        };
        std::future::ready(input)
    });
    events.boxed()
}

fn groups(api: Api<WatchedGroup>) -> BoxStream<'static, Input> {
    let mut list = Vec::new();
    let events =
        runtime::watch::events("ServiceGroups", api, Config::default().page_size(PAGE)).filter_map(move |event| {
            let input = match event {
                Event::Init => {
                    list.clear();
                    None
                }
                Event::InitApply(object) => {
                    list.push(object.reduce());
                    None
                }
                Event::InitDone => Some(Input::Groups(std::mem::take(&mut list))),
                Event::Apply(object) => Some(Input::Group(Box::new(object.reduce()))),
                Event::Delete(object) => {
                    let object = object.reduce();
                    Some(Input::GroupGone((object.namespace, object.name)))
                }
            };
            std::future::ready(input)
        });
    events.boxed()
}

fn leases(api: Api<Lease>) -> BoxStream<'static, Input> {
    let mut list = Vec::new();
    let events = runtime::watch::events("Leases", api, Config::default().page_size(PAGE)).filter_map(move |event| {
        let input = match event {
            Event::Init => {
                list.clear();
                None
            }
            Event::InitApply(lease) => {
                list.push(lease);
                None
            }
            Event::InitDone => Some(Input::Leases(std::mem::take(&mut list))),
            Event::Apply(lease) => Some(Input::Lease(Box::new(lease))),
            Event::Delete(lease) => Some(Input::LeaseGone(Box::new(lease))),
        };
        std::future::ready(input)
    });
    events.boxed()
}
