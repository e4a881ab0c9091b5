//! Metrics that are computed when somebody asks for them.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long a scrape waits. Then it shows the metrics as they are.
const PATIENCE: Duration = Duration::from_secs(1);

/// The end of the HTTP server: asks the program to bring its metrics up to date.
#[derive(Debug, Clone)]
pub struct ScrapeRequests(mpsc::Sender<ScrapeRequest>);

/// The end of the program.
#[derive(Debug)]
pub struct Scrapes(mpsc::Receiver<ScrapeRequest>);

/// A scrape that waits. It goes on when this is dropped.
#[derive(Debug)]
pub struct ScrapeRequest {
    _waiting: oneshot::Sender<()>,
}

/// Both ends.
#[must_use]
pub fn scrapes() -> (ScrapeRequests, Scrapes) {
    let (sender, receiver) = mpsc::channel(16);
    (ScrapeRequests(sender), Scrapes(receiver))
}

impl ScrapeRequests {
    /// Waits until the metrics are up to date, for a second at most.
    pub(crate) async fn refresh(&self) {
        let (waiting, done) = oneshot::channel();
        if self.0.try_send(ScrapeRequest { _waiting: waiting }).is_ok() {
            // Both outcomes mean the same: the program has dropped the request, or is too busy.
            _ = timeout(PATIENCE, done).await;
        }
    }
}

impl Scrapes {
    /// The next scrape; `None` if there is no server.
    pub async fn next(&mut self) -> Option<ScrapeRequest> {
        self.0.recv().await
    }
}
