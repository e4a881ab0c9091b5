//! A watch that never ends and backs off on errors.
//!
//! | Function | Gives |
//! |---|---|
//! | [`events`] | what the API server tells |
//! | [`signals`] | that, and whether it still tells |

mod health;
mod path;

use std::fmt::Debug;
use std::time::Duration;

use futures::Stream;
use futures::stream::{BoxStream, StreamExt, unfold};
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use self::health::Health;
use self::path::Path;
use crate::backoff::Backoff;
use crate::log::ErrorChain;

/// How long one page of a list may take.
const PAGE: Duration = Duration::from_secs(60);

/// The events of a list and the watch that follows it; errors are logged, and followed by a pause.
///
/// The list asks for the most recent state and comes in pages. A list that failed half-way starts
/// again with [`Event::Init`], so nothing counts before [`Event::InitDone`].
pub fn events<K>(what: &'static str, api: Api<K>, config: Config) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    steps(what, api, config).filter_map(|step| std::future::ready(step.ok()))
}

/// What a watch has to say.
#[derive(Debug)]
pub enum Signal<K> {
    /// The API server tells something.
    Event(Event<K>),
    /// What the watch has told is what there is, or it is not known to be any more. Only changes are told; before the
    /// first of them nothing is current.
    Current(bool),
}

/// As [`events`], together with whether they are all there is to know.
///
/// A watch is current from its complete list on, as long as its connection is open. One that breaks, or that the server
/// ends, is current all the same if it is there again within 2 s. A dead connection breaks after
/// [`crate::client::DEAD_AFTER`].
///
/// `api` makes the access to the objects from a client; it gets one that notes which requests are answered.
pub fn signals<K>(
    what: &'static str,
    client: Client,
    api: impl FnOnce(Client) -> Api<K>,
    config: Config,
) -> BoxStream<'static, Signal<K>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let (sender, path) = watch::channel(Path::Idle);
    let steps = steps(what, api(path::noting(client, sender)), config).boxed();
    let observer = Observer { what, steps, path, health: Health::default() };
    unfold(observer, |mut observer| async move { observer.next().await.map(|signal| (signal, observer)) }).boxed()
}

/// Whoever waits for the events of a watch and for the lack of them.
struct Observer<K> {
    what: &'static str,
    steps: BoxStream<'static, Result<Event<K>, Interrupted>>,
    path: watch::Receiver<Path>,
    health: Health,
}

impl<K: Send + 'static> Observer<K> {
    async fn next(&mut self) -> Option<Signal<K>> {
        loop {
            self.note_path();
            if let Some(current) = self.health.news(Instant::now()) {
                self.report(current);
                return Some(Signal::Current(current));
            }
            let due = self.health.due();
            let step = tokio::select! {
                step = self.steps.next() => step?,
                Ok(()) = self.path.changed() => {
                    self.take_path();
                    continue;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => continue,
            };
            // The request came before what it led to.
            self.note_path();
            match step {
                Ok(event) => {
                    self.health.event(&event, Instant::now());
                    return Some(Signal::Event(event));
                }
                Err(Interrupted) => self.health.trouble(Instant::now()),
            }
        }
    }

    fn note_path(&mut self) {
        if self.path.has_changed().unwrap_or(false) {
            self.take_path();
        }
    }

    fn take_path(&mut self) {
        match *self.path.borrow_and_update() {
            Path::Idle => {}
            Path::Asked => self.health.trouble(Instant::now()),
            Path::Answered => self.health.answered(),
        }
    }

    fn report(&self, current: bool) {
        if current {
            info!(op = "watch", what = self.what, "watch is current");
        } else {
            warn!(op = "watch", what = self.what, "watch is no longer current: going on with what it has told");
        }
    }
}

/// The watch failed and begins again after a pause.
struct Interrupted;

fn steps<K>(what: &'static str, api: Api<K>, config: Config) -> impl Stream<Item = Result<Event<K>, Interrupted>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let stream = open(&api, &config);
    let watch = Watch { what, stream, api, config, listing: true, pause: None, backoff: Backoff::watch() };
    unfold(watch, |mut watch| async move { watch.next().await.map(|step| (step, watch)) })
}

struct Watch<K> {
    what: &'static str,
    api: Api<K>,
    config: Config,
    stream: BoxStream<'static, watcher::Result<Event<K>>>,
    listing: bool,
    /// Before the next attempt, after a failed one.
    pause: Option<Duration>,
    backoff: Backoff,
}

impl<K> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    async fn next(&mut self) -> Option<Result<Event<K>, Interrupted>> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        loop {
            // The watch itself ends by the server's and the library's own time limits.
            let limit = if self.listing { PAGE } else { Duration::MAX };
            let Ok(result) = timeout(limit, self.stream.next()).await else {
                warn!(op = "watch", what = self.what, "no answer to a list, asking again");
                self.stream = open(&self.api, &self.config);
                continue;
            };
            return Some(match result? {
                Ok(event) => {
                    match event {
                        // Comes before the request is sent, so it is no success.
                        Event::Init => self.listing = true,
                        Event::InitDone => {
                            self.listing = false;
                            self.backoff.reset();
                        }
                        _ => self.backoff.reset(),
                    }
                    Ok(event)
                }
                Err(error) => {
                    self.report(&error);
                    self.pause = Some(self.backoff.next_delay());
                    Err(Interrupted)
                }
            });
        }
    }

    fn report(&self, error: &watcher::Error) {
        let (what, error) = (self.what, ErrorChain(error));
        // A stream that the server ended, or a resource version that is too old, is daily business.
        if self.backoff.failures() == 0 && !self.listing {
            debug!(op = "watch", what, %error, "watch interrupted");
        } else {
            warn!(op = "watch", what, %error, "watch failed, trying again");
        }
    }
}

fn open<K>(api: &Api<K>, config: &Config) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher::watcher(api.clone(), config.clone()).boxed()
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
