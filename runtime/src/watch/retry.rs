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

/// The watch failed and begins again after a pause.
pub(super) struct Interrupted;

/// As [`events`], with the interruptions.
pub(super) fn steps<K>(
    what: &'static str,
    api: Api<K>,
    config: Config,
) -> impl Stream<Item = Result<Event<K>, Interrupted>> + Send
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
    /// How long to wait before the next attempt, after a failed one.
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
            // The server and the library limit the time of the watch that follows the list.
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
        // Servers end watches and forget old resource versions all the time.
        if self.backoff.failures() == 0 && !self.listing {
            debug!(op = "watch", what, %error, "the watch was interrupted");
        } else {
            warn!(op = "watch", what, %error, "the watch failed, trying again");
        }
    }
}

fn open<K>(api: &Api<K>, config: &Config) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher::watcher(api.clone(), config.clone()).boxed()
}
