//! A list and the watch that follows it, tried again after every error.

use std::fmt::Debug;
use std::time::Duration;

use futures::Stream;
use futures::stream::{BoxStream, StreamExt, unfold};
use kube::runtime::watcher::{self, Config, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::backoff::Backoff;
use crate::log::ErrorChain;

/// How long one page of a list may take.
const PAGE: Duration = Duration::from_secs(60);
/// The first and the longest pause after the API server has refused an optional watch.
const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The events of a list and of the watch that follows it. Errors are logged and followed by a pause.
///
/// The list is of the most recent state and comes in pages. A list that fails halfway starts again with
/// [`Event::Init`], so its content is valid only after [`Event::InitDone`].
pub fn events<K>(what: &'static str, api: Api<K>, config: Config) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    steps(what, api, config).filter_map(|step| std::future::ready(step.ok()))
}

/// The API server refuses the watch, or does not serve the resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// As [`events`], for objects without which the program goes on.
///
/// If the API server refuses the watch or does not serve the resource, the log has it once, and the next attempts are up
/// to a minute apart. Each refusal is yielded.
pub fn optional_events<K>(
    what: &'static str,
    api: Api<K>,
    config: Config,
) -> impl Stream<Item = Result<Event<K>, Refused>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut watch = Watch::new(what, api, config);
    watch.refusals = Some(Refusals::default());
    watch.steps().filter_map(|step| {
        std::future::ready(match step {
            Ok(event) => Some(Ok(event)),
            Err(Interrupted::Refused) => Some(Err(Refused)),
            Err(Interrupted::Failed) => None,
        })
    })
}

/// The watch failed and begins again after a pause.
pub(super) enum Interrupted {
    /// The request failed.
    Failed,
    /// It is an optional watch, and the API server refuses it.
    Refused,
}

/// As [`events`], with the interruptions.
pub(super) fn steps<K>(
    what: &'static str,
    api: Api<K>,
    config: Config,
) -> impl Stream<Item = Result<Event<K>, Interrupted>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    Watch::new(what, api, config).steps()
}

/// How often an optional watch was refused.
struct Refusals {
    backoff: Backoff,
    reported: bool,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { backoff: Backoff::new(REFUSED.0, REFUSED.1), reported: false }
    }
}

struct Watch<K> {
    what: &'static str,
    api: Api<K>,
    config: Config,
    stream: BoxStream<'static, watcher::Result<Event<K>>>,
    listing: bool,
    /// How long to wait before the next attempt, after a failed one.
    pause: Option<Duration>,
    backoff: Backoff,
    /// Of an optional watch.
    refusals: Option<Refusals>,
}

impl<K> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    fn new(what: &'static str, api: Api<K>, config: Config) -> Self {
        let stream = open(&api, &config);
        Self { what, stream, api, config, listing: true, pause: None, backoff: Backoff::watch(), refusals: None }
    }

    fn steps(self) -> impl Stream<Item = Result<Event<K>, Interrupted>> + Send {
        unfold(self, |mut watch| async move { watch.next().await.map(|step| (step, watch)) })
    }

    async fn next(&mut self) -> Option<Result<Event<K>, Interrupted>> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        loop {
            // The server limits the time of the watch that follows the list, and the client the time of its silence.
            let limit = if self.listing { PAGE } else { Duration::MAX };
            let Ok(result) = timeout(limit, self.stream.next()).await else {
                warn!(op = "watch", what = self.what, "the API server did not answer a list in time, trying again");
                self.stream = open(&self.api, &self.config);
                continue;
            };
            return Some(match result? {
                Ok(event) => {
                    match event {
                        // This event precedes the request, so it does not show a success.
                        Event::Init => self.listing = true,
                        Event::InitDone => {
                            self.listing = false;
                            self.backoff.reset();
                            self.refusals = self.refusals.take().map(|_| Refusals::default());
                        }
                        _ => self.backoff.reset(),
                    }
                    Ok(event)
                }
                Err(error) => {
                    if let Some(pause) = self.refused(&error) {
                        self.pause = Some(pause);
                        return Some(Err(Interrupted::Refused));
                    }
                    self.report(&error);
                    self.pause = Some(self.backoff.next_delay());
                    Err(Interrupted::Failed)
                }
            });
        }
    }

    /// The pause after the API server has refused an optional watch.
    fn refused(&mut self, error: &watcher::Error) -> Option<Duration> {
        let refusals = self.refusals.as_mut().filter(|_| is_refusal(error))?;
        if !std::mem::replace(&mut refusals.reported, true) {
            let (what, error) = (self.what, ErrorChain(error));
            warn!(op = "watch", what, %error, "the API server does not let us read these objects: going on without them");
        }
        Some(refusals.backoff.next_delay())
    }

    fn report(&self, error: &watcher::Error) {
        let (what, error) = (self.what, ErrorChain(error));
        // Servers end watches and forget old resource versions all the time.
        if self.backoff.failures() == 0 && !self.listing {
            debug!(op = "watch", what, %error, "the watch was interrupted");
        } else {
            warn!(op = "watch", what, %error, "the watch failed, trying again");
        }
    }
}

/// Whether the API server does not serve the resource, or forbids to read it.
fn is_refusal(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => return false,
    };
    matches!(code, 401 | 403 | 404 | 405)
}

fn open<K>(api: &Api<K>, config: &Config) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher::watcher(api.clone(), config.clone()).boxed()
}
