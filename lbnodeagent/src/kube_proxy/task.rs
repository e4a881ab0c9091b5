//! Looks at kube-proxy's ports, one after the other.

use std::time::Duration;

use runtime::Task;
use tokio::sync::watch;

use super::page;
use crate::decide::kube_proxy::Signs;
use crate::model::service_proxy::ProxyMode;

/// The time between two looks: while it says its mode, and while it does not.
const QUIET: Duration = Duration::from_secs(10);
const WAITING: Duration = Duration::from_secs(2);

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

/// Starts looking. The receiver notices each look, also one that finds the same.
pub fn start(ports: Ports) -> (Task, watch::Receiver<Signs>) {
    let (sender, receiver) = watch::channel(Signs::default());
    let task = Task::spawn(async move {
        loop {
            let signs = look(ports).await;
            sender.send_replace(signs);
            tokio::time::sleep(if signs.mode.is_some() { QUIET } else { WAITING }).await;
        }
    });
    (task, receiver)
}

async fn look(ports: Ports) -> Signs {
    let (mode, live) = tokio::join!(page::get(ports.metrics, "/proxyMode"), page::get(ports.health, "/livez"));
    let mode = mode.filter(|page| page.status == 200).and_then(|page| ProxyMode::named(page.content.trim()));
    // Another status is an answer as well: an earlier release does not have the page.
    Signs { mode, health: live.is_some(), live: live.is_some_and(|page| page.status == 200) }
}
