//! A watch together with whether it is current.

use std::fmt::Debug;

use futures::stream::{BoxStream, StreamExt, unfold};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::health::Health;
use super::request::{self, Request};
use super::retry::{Interrupted, steps};

/// What [`updates`] yields.
#[derive(Debug)]
pub enum WatchUpdate<K> {
    /// An event of the list or of the watch.
    Event(Event<K>),
    /// Whether the watch is current: its events so far describe the present state. Sent only when it changes. A watch
    /// is not current before the first such update.
    Current(bool),
}

/// As [`events`](super::events), together with whether the watch is current.
///
/// A watch becomes current when its list is complete, and stays current while its connection is open. A watch that
/// breaks, or that the server ends, stays current if it is open again within 2 s. A dead connection breaks after
/// [`crate::client::DEAD_AFTER`], one that lives and delivers nothing after 90 s.
///
/// `api` makes the `Api` from a client. It is given a client that records whether requests are answered.
pub fn updates<K>(
    what: &'static str,
    client: Client,
    api: impl FnOnce(Client) -> Api<K>,
    config: Config,
) -> BoxStream<'static, WatchUpdate<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (sender, request) = watch::channel(Request::None);
    let steps = steps(what, api(request::recording(client, sender)), config).boxed();
    let observer = Observer { what, steps, request, health: Health::default() };
    unfold(observer, |mut observer| async move { observer.next().await.map(|update| (update, observer)) }).boxed()
}

/// A watch together with what is known of its health.
struct Observer<K> {
    what: &'static str,
    steps: BoxStream<'static, Result<Event<K>, Interrupted>>,
    request: watch::Receiver<Request>,
    health: Health,
}

impl<K: Send + 'static> Observer<K> {
    async fn next(&mut self) -> Option<WatchUpdate<K>> {
        loop {
            self.note_request();
            if let Some(current) = self.health.change(Instant::now()) {
                self.report(current);
                return Some(WatchUpdate::Current(current));
            }
            let due = self.health.due();
            let step = tokio::select! {
                step = self.steps.next() => step?,
                Ok(()) = self.request.changed() => {
                    self.take_request();
                    continue;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => continue,
            };
            // A request precedes the events that it leads to.
            self.note_request();
            match step {
                Ok(event) => {
                    self.health.handle(&event, Instant::now());
                    return Some(WatchUpdate::Event(event));
                }
                Err(_) => self.health.interrupt(Instant::now()),
            }
        }
    }

    fn note_request(&mut self) {
        if self.request.has_changed().unwrap_or(false) {
            self.take_request();
        }
    }

    fn take_request(&mut self) {
        match *self.request.borrow_and_update() {
            Request::None => {}
            Request::Sent => self.health.interrupt(Instant::now()),
            Request::Answered => self.health.answered(),
        }
    }

    fn report(&self, current: bool) {
        if current {
            info!(op = "watch", what = self.what, "the watch is current");
        } else {
            warn!(op = "watch", what = self.what, "the watch is no longer current: going on with the last known state");
        }
    }
}
