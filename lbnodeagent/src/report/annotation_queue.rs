//! Which Services' announcing annotations are to be written, and when.
//!
//! Annotations are written after an address is announced and never delay that. There are at most [`RATE`] writes a
//! second for each node. The text is computed from the newest state just before it is written.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::BootTime;

use crate::cluster::service::ServiceName;

/// Writes per second of a node.
pub const RATE: u32 = 20;

/// The time between two writes.
const GAP: Duration = Duration::from_millis(50);

/// The longest wait after failures.
const MAX_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Waiting {
    due: BootTime,
    failures: u32,
}

/// The Services that wait.
#[derive(Debug, Default)]
pub struct AnnotationQueue {
    waiting: BTreeMap<ServiceName, Waiting>,
    /// The write that is under way.
    busy: Option<ServiceName>,
    next: BootTime,
}

impl AnnotationQueue {
    /// The annotations of this Service may need a change, to be looked at after `delay`.
    pub fn note(&mut self, name: &ServiceName, now: BootTime, delay: Duration) {
        let due = now + delay;
        let waiting = self.waiting.entry(name.clone()).or_insert(Waiting { due, failures: 0 });
        if waiting.failures == 0 {
            waiting.due = waiting.due.min(due);
        }
    }

    /// What is to be written for this Service may not be written before then, unless something else is noted.
    pub fn postpone(&mut self, name: &ServiceName, due: BootTime) {
        self.waiting.insert(name.clone(), Waiting { due, failures: 0 });
    }

    /// When the next Service is due; nothing while none waits or a write is under way.
    #[must_use]
    pub fn wake(&self) -> Option<BootTime> {
        if self.busy.is_some() {
            return None;
        }
        self.waiting.values().map(|waiting| waiting.due.max(self.next)).min()
    }

    /// The Services that are due, those that wait longest first.
    #[must_use]
    pub fn due(&self, now: BootTime) -> Vec<ServiceName> {
        if self.busy.is_some() || now < self.next {
            return Vec::new();
        }
        let mut due: Vec<_> = self.waiting.iter().filter(|(_, waiting)| waiting.due <= now).collect();
        due.sort_by_key(|(_, waiting)| waiting.due);
        due.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// Nothing is to be written for this Service.
    pub fn forget(&mut self, name: &ServiceName) {
        self.waiting.remove(name);
    }

    /// A write for this Service is under way.
    pub fn begin(&mut self, name: &ServiceName, now: BootTime) {
        self.busy = Some(name.clone());
        self.next = now + GAP;
    }

    /// The write under way has ended. One that failed is repeated later.
    pub fn end(&mut self, succeeded: bool, now: BootTime) {
        let Some(name) = self.busy.take() else { return };
        if succeeded {
            self.waiting.remove(&name);
        } else if let Some(waiting) = self.waiting.get_mut(&name) {
            // After a conflict the watch delivers the newer state within milliseconds. Anything else
            // lasts longer.
            let wait = Duration::from_millis(100).saturating_mul(1 << waiting.failures.min(10)).min(MAX_WAIT);
            *waiting = Waiting { due: now + wait, failures: waiting.failures.saturating_add(1) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime::from_duration(Duration::from_millis(millis))
    }

    #[test]
    fn one_at_a_time_and_twenty_a_second() {
        let mut queue = AnnotationQueue::default();
        let (a, b) = (ServiceName::new("x", "a"), ServiceName::new("x", "b"));
        queue.note(&a, at(1000), Duration::ZERO);
        queue.note(&b, at(1001), Duration::ZERO);
        assert_eq!(queue.due(at(1001)), [a.clone(), b.clone()]);
        queue.begin(&a, at(1001));
        assert!(queue.due(at(1100)).is_empty() && queue.wake().is_none());
        queue.end(true, at(1010));
        assert!(queue.due(at(1010)).is_empty());
        assert_eq!(queue.wake(), Some(at(1051)));
        assert_eq!(queue.due(at(1051)), [b]);
    }

    #[test]
    fn what_is_postponed_is_looked_at_again_when_something_is_noted() {
        let mut queue = AnnotationQueue::default();
        let a = ServiceName::new("x", "a");
        queue.note(&a, at(0), Duration::ZERO);
        queue.postpone(&a, at(60_000));
        assert_eq!((queue.due(at(1)), queue.wake()), (Vec::new(), Some(at(60_000))));
        queue.note(&a, at(2000), Duration::from_millis(10));
        assert_eq!(queue.wake(), Some(at(2010)));
    }

    #[test]
    fn a_failed_write_waits_longer_each_time() {
        let mut queue = AnnotationQueue::default();
        let a = ServiceName::new("x", "a");
        queue.note(&a, at(0), Duration::ZERO);
        queue.begin(&a, at(0));
        queue.end(false, at(0));
        assert_eq!(queue.wake(), Some(at(100)));
        queue.begin(&a, at(100));
        queue.end(false, at(100));
        assert_eq!(queue.wake(), Some(at(300)));
        queue.forget(&a);
        assert_eq!(queue.wake(), None);
    }
}
