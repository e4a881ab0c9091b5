//! Watches an address over time: who answers for it, and when nobody does.

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

use super::{Asker, Heard, Kind, LinkSocket, Observations};
use crate::{error::Result, mac::Mac};

/// The time between two questions.
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
    asked: Mutex<Vec<Instant>>,
    heard: Mutex<Vec<(Instant, Heard)>>,
    stop: AtomicBool,
}

impl Shared {
    /// The recent past of what was heard, oldest first. Frames come in the order of their times, nearly.
    fn heard_since(&self, from: Instant) -> Vec<(Instant, Heard)> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent: Vec<_> = heard.iter().rev().take_while(|(at, _)| *at >= from).copied().collect();
        recent.reverse();
        recent
    }
}

impl ArpMonitor {
    /// Asks in the name of `asker`, whose interface `socket` must be on.
    pub(crate) fn start(socket: LinkSocket, asker: Asker, address: IpAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let socket = Arc::new(socket);
        let ask = {
            let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
            move || {
                let question = asker.question(address);
                let mut next = Instant::now();
                while !shared.stop.load(Ordering::Relaxed) {
                    shared.asked.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                    socket.send(&question)?;
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
                    if let Some(heard) = asker.hear(&frame, address) {
                        shared.heard.lock().unwrap_or_else(PoisonError::into_inner).push((at, heard));
                    } else if let Some(answer) = asker.answer(&frame) {
                        socket.send(&answer)?;
                    }
                }
                Ok(())
            }
        };
        Self { shared, begin: Instant::now(), threads: vec![thread::spawn(ask), thread::spawn(listen)] }
    }

    /// What has been heard so far.
    #[must_use]
    pub fn so_far(&self) -> Observations {
        let heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Observations { begin: self.begin, end: Instant::now(), asked, heard }
    }

    /// Who has answered within the last so-and-so long, until now. Cheap, for those who wait for a state.
    #[must_use]
    pub fn answering(&self, within: Duration) -> BTreeSet<Mac> {
        let from = Instant::now().checked_sub(within).unwrap_or(self.begin);
        let recent = self.shared.heard_since(from);
        recent.into_iter().filter(|(_, heard)| heard.kind == Kind::Answer).map(|(_, heard)| heard.mac).collect()
    }

    /// Whether one host and nobody else has answered within the last so-and-so long, without a silence.
    #[must_use]
    pub fn steady(&self, within: Duration) -> Option<Mac> {
        let end = Instant::now();
        let begin = end.checked_sub(within).filter(|begin| *begin >= self.begin)?;
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let first = asked.partition_point(|at| *at < begin);
        let asked = asked.get(first..).unwrap_or_default().to_vec();
        let recent = Observations { begin, end, asked, heard: self.shared.heard_since(begin) };
        let macs = recent.macs();
        (macs.len() == 1 && recent.silences().is_empty()).then(|| macs.first().copied()).flatten()
    }

    /// Stops asking and returns all that has been heard.
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
