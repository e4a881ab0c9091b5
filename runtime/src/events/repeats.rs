//! Events that were published before.

use std::collections::HashMap;
use std::time::Duration;

use crate::BootTime;

/// An event that was not repeated for this time counts as new.
const TTL: Duration = Duration::from_secs(600);
/// The minimal time between two counts of the same event.
const REFRESH: Duration = Duration::from_secs(60);
/// How many events are remembered. Each takes about 100 bytes.
const CAPACITY: usize = 8192;

#[derive(Debug)]
struct Published {
    /// Namespace and name of the Event object, once it exists.
    object: Option<(String, String)>,
    /// How often it was published.
    count: i32,
    /// The count that was sent last.
    sent: i32,
    sent_at: BootTime,
    seen_at: BootTime,
}

/// A new count for an Event object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recount {
    pub(super) key: u64,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) count: i32,
}

/// Which events were published, how often, and which Event object each has.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    published: HashMap<u64, Published>,
}

impl Repeats {
    /// Records that an event is published now. Returns whether it repeats an earlier one.
    pub(super) fn seen(&mut self, key: u64, now: BootTime) -> bool {
        if let Some(known) = self.published.get_mut(&key)
            && now.since(known.seen_at) < TTL
        {
            known.count = known.count.saturating_add(1);
            known.seen_at = now;
            return true;
        }
        if self.published.len() >= CAPACITY {
            self.expire(now);
        }
        if self.published.len() >= CAPACITY {
            // Repeats of earlier events are then sent as new ones, but the memory stays bounded.
            self.published.clear();
        }
        self.published.insert(key, Published { object: None, count: 1, sent: 1, sent_at: now, seen_at: now });
        false
    }

    /// Records the Event object that was created.
    pub(super) fn created(&mut self, key: u64, namespace: String, name: String) {
        if let Some(known) = self.published.get_mut(&key) {
            known.object = Some((namespace, name));
        }
    }

    /// Forgets an event that was not sent, so that the next one counts as new.
    pub(super) fn forget(&mut self, key: u64) {
        self.published.remove(&key);
    }

    /// Returns the counts that are due, and records them as sent.
    pub(super) fn due(&mut self, now: BootTime) -> Vec<Recount> {
        self.expire(now);
        let mut due = Vec::new();
        for (&key, known) in &mut self.published {
            if let Some((namespace, name)) = &known.object
                && known.count > known.sent
                && now.since(known.sent_at) >= REFRESH
            {
                (known.sent, known.sent_at) = (known.count, now);
                due.push(Recount { key, namespace: namespace.clone(), name: name.clone(), count: known.count });
            }
        }
        due
    }

    fn expire(&mut self, now: BootTime) {
        self.published.retain(|_, known| now.since(known.seen_at) < TTL || known.count > known.sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    #[test]
    fn a_repeat_is_counted_and_sent_once_a_minute() {
        let mut repeats = Repeats::default();
        assert!(!repeats.seen(1, at(0)));
        repeats.created(1, "shop".to_owned(), "web.1".to_owned());
        for second in 1..=30 {
            assert!(repeats.seen(1, at(second)));
        }
        assert_eq!(repeats.due(at(30)), []);
        let due = repeats.due(at(60));
        assert_eq!((due.len(), due[0].count), (1, 31));
        assert_eq!(repeats.due(at(180)), []);
    }

    #[test]
    fn after_ten_quiet_minutes_it_is_new() {
        let mut repeats = Repeats::default();
        assert!(!repeats.seen(1, at(0)));
        assert!(repeats.seen(1, at(599)));
        assert!(!repeats.seen(1, at(1199)));
        repeats.due(at(2000));
        assert_eq!(repeats.published.len(), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut repeats = Repeats::default();
        for key in 0..100_000 {
            repeats.seen(key, at(0));
        }
        assert!(repeats.published.len() <= CAPACITY);
    }
}
