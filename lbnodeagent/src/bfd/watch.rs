//! Reading Calico's objects about BGP.
//!
//! The cluster may have no such objects, and the agent may not be allowed to read them. Both are usual, so an attempt that
//! fails is repeated at growing distances, and only a change of the error is logged.

use std::time::Duration;

use ::calico::{GROUPS, bgp_configuration, bgp_filter, bgp_peer};
use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt};
use runtime::Task;
use runtime::backoff::Backoff;
use runtime::log::ErrorChain;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::routers::{Object, What};

/// The first pause after a failed attempt.
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(300);
/// How long a page of a list may take.
const PAGE: Duration = Duration::from_secs(60);

/// The kinds, with their plurals.
const KINDS: [(What, &str, &str); 3] = [
    (What::Peers, bgp_peer::KIND, bgp_peer::PLURAL),
    (What::Configurations, bgp_configuration::KIND, bgp_configuration::PLURAL),
    (What::Filters, bgp_filter::KIND, bgp_filter::PLURAL),
];

/// What the watch of a kind and an API group, by its place in [`GROUPS`], has delivered; nothing if the API server does not
/// know the kind.
pub type Update = (What, usize, Option<Event<Object>>);

/// Starts a watch for each kind and API group. They end when the result is dropped.
#[must_use]
pub fn start(client: &Client, updates: &mpsc::Sender<Update>) -> Vec<Task> {
    let mut watches = Vec::new();
    for (place, (group, version)) in GROUPS.iter().enumerate() {
        for (what, kind, plural) in KINDS {
            let kind = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            let api = Api::all_with(client.clone(), &resource);
            watches.push(Task::spawn(follow((what, place), api, format!("{plural}.{group}"), updates.clone())));
        }
    }
    watches
}

async fn follow(
    (what, place): (What, usize),
    api: Api<DynamicObject>,
    resource: String,
    updates: mpsc::Sender<Update>,
) {
    let mut backoff = Backoff::new(FIRST, LONGEST);
    let mut reported = String::new();
    loop {
        let mut events = watcher::watcher(api.clone(), watcher::Config::default()).boxed();
        let mut listing = true;
        loop {
            // The server and the library limit the time of the watch that follows the list.
            let limit = if listing { PAGE } else { Duration::MAX };
            let error = match timeout(limit, events.next()).await {
                Ok(Some(Ok(event))) => {
                    match event {
                        Event::Init => listing = true,
                        Event::InitDone => {
                            listing = false;
                            reported.clear();
                            backoff.reset();
                        }
                        _ => {}
                    }
                    if updates.send((what, place, Some(reduced(event)))).await.is_err() {
                        return;
                    }
                    continue;
                }
                Ok(Some(Err(error))) => {
                    if is_unknown(&error) && updates.send((what, place, None)).await.is_err() {
                        return;
                    }
                    ErrorChain(&error).to_string()
                }
                Ok(None) => break,
                Err(_) => "the API server does not answer".to_owned(),
            };
            // A watch that the server ends is opened again by a list.
            if listing && error != reported {
                tracing::info!(
                    op = "bfd",
                    resource,
                    error,
                    "cannot read Calico's objects: what they said before stays"
                );
                reported = error;
            }
            break;
        }
        sleep(backoff.next_delay()).await;
    }
}

/// Whether the API server has answered that it does not know the kind.
fn is_unknown(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_not_found())
}

fn reduced(event: Event<DynamicObject>) -> Event<Object> {
    let object = |mut object: DynamicObject| Object {
        name: object.name_any(),
        spec: object.data.get_mut("spec").map(Value::take).unwrap_or_default(),
    };
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(found) => Event::InitApply(object(found)),
        Event::Apply(found) => Event::Apply(object(found)),
        Event::Delete(found) => Event::Delete(object(found)),
    }
}
