//! Notices when this machine itself stood still, so that the table does not blame the programs.
//!
//! Virtual machines sometimes stand still for seconds. A thread that only sleeps shows it: if it wakes up late, all
//! other threads had to wait as well.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long the thread sleeps.
const NAP: Duration = Duration::from_millis(5);

/// A sleep that is longer than this counts as a standstill. The client loses three questions in less time, but a
/// shorter delay is normal when there is one processor too few.
const LONG: Duration = Duration::from_millis(50);

/// Watches until this is dropped.
pub(crate) struct Standstill {
    /// The beginning and the end of each standstill.
    naps: Arc<Mutex<Vec<(Instant, Instant)>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Standstill {
    pub(crate) fn watch() -> Self {
        let (naps, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (naps, end) = (Arc::clone(&naps), Arc::clone(&end));
            move || {
                while !end.load(Ordering::Relaxed) {
                    let before = Instant::now();
                    thread::sleep(NAP);
                    if before.elapsed() > LONG {
                        naps.lock().unwrap_or_else(PoisonError::into_inner).push((before, Instant::now()));
                    }
                }
            }
        });
        Self { naps, end, thread: Some(thread) }
    }

    /// The longest standstill that began or ended in this time, if there was one.
    pub(crate) fn longest(&self, from: Instant, to: Instant) -> Option<Duration> {
        let naps = self.naps.lock().unwrap_or_else(PoisonError::into_inner);
        let within = naps.iter().filter(|(began, ended)| *ended >= from && *began <= to);
        within.map(|(began, ended)| ended.duration_since(*began)).max()
    }
}

impl Drop for Standstill {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        // An error means that the thread panicked. Nothing is left to do then.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_in_that_time_counts() {
        let standstill = Standstill::watch();
        let at = Instant::now();
        let moment = |after: u64| at + Duration::from_secs(after);
        *standstill.naps.lock().unwrap() = vec![(moment(10), moment(11)), (moment(20), moment(24))];
        let longest = |from, to| standstill.longest(moment(from), moment(to)).map(|time| time.as_secs());
        assert_eq!(longest(0, 9), None);
        assert_eq!(longest(0, 10), Some(1));
        assert_eq!(longest(11, 30), Some(4));
        assert_eq!(longest(25, 30), None);
    }
}
