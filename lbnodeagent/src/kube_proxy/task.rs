//! Looks at kube-proxy's ports, one after the other.

use std::sync::Arc;
use std::time::Duration;

use runtime::Task;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::page;
use crate::decide::kube_proxy::{Health, Signs};
use crate::model::service_proxy::ProxyMode;

/// The time between two looks: while it says its mode, and while it does not.
const QUIET: Duration = Duration::from_secs(10);
const WAITING: Duration = Duration::from_secs(2);
/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The ports of kube-proxy on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Of its metrics, where it also says its mode.
    pub metrics: u16,
    /// Of its health.
    pub health: u16,
}

impl Default for Ports {
    /// Those of its defaults.
    fn default() -> Self {
        Self { metrics: 10_249, health: 10_256 }
    }
}

/// What the looks find.
#[derive(Debug)]
pub struct Looks {
    signs: watch::Receiver<Signs>,
    wanted: Arc<Notify>,
    _task: Task,
}

impl Looks {
    /// Waits for the next look, also for one that finds the same.
    pub async fn next(&mut self) {
        if self.signs.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What the last look found.
    pub fn signs(&mut self) -> Signs {
        *self.signs.borrow_and_update()
    }

    /// Asks for a look before its time.
    pub fn ask(&self) {
        self.wanted.notify_one();
    }
}

/// Starts looking.
#[must_use]
pub fn start(ports: Ports) -> Looks {
    let (sender, signs) = watch::channel(Signs::default());
    let wanted = Arc::new(Notify::new());
    let asked = wanted.clone();
    let task = Task::spawn(async move {
        loop {
            let signs = look(ports).await;
            sender.send_replace(signs);
            sleep(PAUSE).await;
            let wait = if signs.mode.is_some() { QUIET } else { WAITING };
            let _asked = timeout(wait.saturating_sub(PAUSE), asked.notified()).await;
        }
    });
    Looks { signs, wanted, _task: task }
}

async fn look(ports: Ports) -> Signs {
    let (mode, live) = tokio::join!(page::get(ports.metrics, "/proxyMode"), page::get(ports.health, "/livez"));
    let mode = mode.filter(|page| page.status == 200).and_then(|page| ProxyMode::named(page.content.trim()));
    Signs { mode, health: Health::of_status(live.map(|page| page.status)) }
}
