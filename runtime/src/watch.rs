//! A watch that never ends and backs off on errors.

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

/// The events of a list and the watch that follows it; errors are logged, and followed by a pause.
///
/// The list asks for the most recent state and comes in pages. A list that failed half-way starts
/// again with [`Event::Init`], so nothing counts before [`Event::InitDone`].
pub fn events<K>(what: &'static str, api: Api<K>, config: Config) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let watch = Watch { what, stream: open(&api, &config), api, config, listing: true, backoff: Backoff::watch() };
    unfold(watch, |mut watch| async move { watch.next().await.map(|event| (event, watch)) })
}

struct Watch<K> {
    what: &'static str,
    api: Api<K>,
    config: Config,
    stream: BoxStream<'static, watcher::Result<Event<K>>>,
    listing: bool,
    backoff: Backoff,
}

impl<K> Watch<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    async fn next(&mut self) -> Option<Event<K>> {
        loop {
            // The watch itself ends by the server's and the library's own time limits.
            let limit = if self.listing { PAGE } else { Duration::MAX };
            let Ok(result) = timeout(limit, self.stream.next()).await else {
                warn!(op = "watch", what = self.what, "no answer to a list, asking again");
                self.stream = open(&self.api, &self.config);
                continue;
            };
            let result = result?;
            match result {
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
                    return Some(event);
                }
                Err(error) => {
                    self.report(&error);
                    tokio::time::sleep(self.backoff.next_delay()).await;
                }
            }
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
