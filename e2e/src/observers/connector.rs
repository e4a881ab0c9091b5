//! Opens TCP connections at a steady rate, as many clients would, and counts those that fail.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::{
    net::TcpSocket,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    base::error::{Doing, Result},
    hosts::host::Host,
};

/// The time between the beginnings of two connections, unless the caller names another.
pub(crate) const PERIOD: Duration = Duration::from_millis(10);

/// A connection that takes longer has failed. Shorter than TCP waits before it repeats its first segment (1 s), so that
/// each connection is one question.
const PATIENCE: Duration = Duration::from_millis(200);

/// Failures with less time between them belong together.
const TOGETHER: Duration = Duration::from_millis(500);

/// Opens a connection again and again from when it is made until it is stopped or dropped.
#[derive(Debug)]
pub struct Connector {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    tries: Mutex<Vec<(Instant, bool)>>,
    stop: AtomicBool,
}

impl Connector {
    /// Connects from `host` to `server`.
    pub(crate) fn start(host: Host, server: SocketAddr, period: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let worker = Arc::clone(&shared);
        let thread = thread::spawn(move || host.in_network(|| run(&worker, server, period))?);
        Self { shared, thread: Some(thread) }
    }

    /// Stops connecting, waits for those that are under way, and returns what became of all.
    ///
    /// # Errors
    /// The host was off from the beginning.
    pub fn stop(mut self) -> Result<Connections> {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(Connections { tries: self.shared.tries.lock().unwrap_or_else(PoisonError::into_inner).clone() })
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn run(shared: &Arc<Shared>, server: SocketAddr, period: Duration) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().doing(|| "start a runtime".into())?;
    runtime.block_on(async {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tries = JoinSet::new();
        while !shared.stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let shared = Arc::clone(shared);
            tries.spawn(async move {
                let begin = Instant::now();
                let succeeded = matches!(timeout(PATIENCE, connect(server)).await, Ok(Ok(())));
                shared.tries.lock().unwrap_or_else(PoisonError::into_inner).push((begin, succeeded));
            });
            while tries.try_join_next().is_some() {}
        }
        tries.join_all().await;
    });
    Ok(())
}

async fn connect(server: SocketAddr) -> std::io::Result<()> {
    let socket = if server.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Reset rather than closed: a hundred closed ones a second would use up the ports.
    socket.set_zero_linger()?;
    socket.connect(server).await.map(drop)
}

/// Connections, and what became of them.
#[derive(Clone, Debug)]
pub struct Connections {
    tries: Vec<(Instant, bool)>,
}

impl Connections {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tries.len()
    }

    /// How many were begun between two points in time.
    #[must_use]
    pub fn tried(&self, from: Instant, to: Instant) -> usize {
        self.tries.iter().filter(|(at, _)| (from..=to).contains(at)).count()
    }

    /// When those were begun that failed.
    #[must_use]
    pub fn failures(&self) -> Vec<Instant> {
        self.tries.iter().filter(|(_, succeeded)| !succeeded).map(|(at, _)| *at).collect()
    }

    /// The longest time in which connections failed again and again. A single one that fails is a packet that was lost.
    #[must_use]
    pub fn longest_failure(&self) -> Duration {
        let mut failures = self.failures();
        failures.sort_unstable();
        let runs = failures.chunk_by(|one, next| next.duration_since(*one) < TOGETHER);
        runs.filter_map(|run| Some(run.last()?.duration_since(*run.first()?))).max().unwrap_or_default()
    }

    /// How many of these failed.
    #[must_use]
    pub fn failed(&self, from: Instant, to: Instant) -> usize {
        self.tries.iter().filter(|(at, succeeded)| (from..=to).contains(at) && !succeeded).count()
    }
}
