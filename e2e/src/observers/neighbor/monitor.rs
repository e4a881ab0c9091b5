//! Asks for one address again and again, and records the answers.

use std::{
    collections::BTreeSet,
    mem,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::observers::neighbor::{
    frames::{MessageKind, NeighborMessage, Requester},
    observations::Observations,
    socket::LinkSocket,
};
use crate::{base::error::Result, topology::mac::Mac};

/// The time between two requests.
const PERIOD: Duration = Duration::from_millis(1);

/// Asks for one address every millisecond, by ARP or by neighbour solicitation, from when it is made until it is
/// stopped or dropped.
#[derive(Debug)]
pub struct ArpMonitor {
    shared: Arc<Shared>,
    begin: Instant,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    requests: Mutex<Vec<Instant>>,
    messages: Mutex<Vec<(Instant, NeighborMessage)>>,
    stop: AtomicBool,
}

impl Shared {
    /// The messages since `from`, oldest first. Frames come almost in the order of their times.
    fn messages_since(&self, from: Instant) -> Vec<(Instant, NeighborMessage)> {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent: Vec<_> = messages.iter().rev().take_while(|(at, _)| *at >= from).copied().collect();
        recent.reverse();
        recent
    }
}

impl ArpMonitor {
    /// Asks as `requester`; `socket` must be on its interface.
    pub(crate) fn start(socket: LinkSocket, requester: Requester, address: IpAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let socket = Arc::new(socket);
        let ask = {
            let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
            move || {
                let request = requester.request(address);
                let mut next = Instant::now();
                while !shared.stop.load(Ordering::Relaxed) {
                    shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                    socket.send(&request)?;
                    next += PERIOD;
                    match next.checked_duration_since(Instant::now()) {
                        Some(rest) => thread::sleep(rest),
                        // A machine that was busy does not make up for it by a flood.
                        None => next = Instant::now(),
                    }
                }
                Ok(())
            }
        };
        let listen = {
            let shared = Arc::clone(&shared);
            move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    let Some((at, frame)) = socket.receive()? else { continue };
                    if let Some(messages) = requester.message(&frame, address) {
                        shared.messages.lock().unwrap_or_else(PoisonError::into_inner).push((at, messages));
                    } else if let Some(answer) = requester.reply(&frame) {
                        socket.send(&answer)?;
                    }
                }
                Ok(())
            }
        };
        Self { shared, begin: Instant::now(), threads: vec![thread::spawn(ask), thread::spawn(listen)] }
    }

    /// What has been observed so far.
    #[must_use]
    pub fn so_far(&self) -> Observations {
        let messages = self.shared.messages.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Observations { begin: self.begin, end: Instant::now(), requests, messages }
    }

    /// The hosts that have answered within this time before now. Cheap enough to be called in a loop.
    #[must_use]
    pub fn answering(&self, within: Duration) -> BTreeSet<Mac> {
        let from = Instant::now().checked_sub(within).unwrap_or(self.begin);
        let recent = self.shared.messages_since(from);
        recent
            .into_iter()
            .filter(|(_, messages)| messages.kind == MessageKind::Answer)
            .map(|(_, messages)| messages.mac)
            .collect()
    }

    /// The host that alone has answered within this time before now, without a silence; `None` if there is none.
    #[must_use]
    pub fn steady(&self, within: Duration) -> Option<Mac> {
        let end = Instant::now();
        let begin = end.checked_sub(within).filter(|begin| *begin >= self.begin)?;
        let requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let first = requests.partition_point(|at| *at < begin);
        let requests = requests.get(first..).unwrap_or_default().to_vec();
        let recent = Observations { begin, end, requests, messages: self.shared.messages_since(begin) };
        let macs = recent.macs();
        (macs.len() == 1 && recent.silences().is_empty()).then(|| macs.first().copied()).flatten()
    }

    /// Stops asking, and returns all that was observed.
    ///
    /// # Errors
    /// The socket failed in between.
    pub fn stop(mut self) -> Result<Observations> {
        let observations = self.so_far();
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in mem::take(&mut self.threads) {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(observations)
    }
}

impl Drop for ArpMonitor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
