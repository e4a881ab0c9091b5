//! What has been said before.

use std::collections::HashMap;
use std::time::Duration;

use crate::BootTime;

/// After this time of silence the same thing is news again.
const TTL: Duration = Duration::from_secs(600);
/// A growing count is sent this often.
const REFRESH: Duration = Duration::from_secs(60);
/// How much is remembered; about 100 bytes each.
const CAPACITY: usize = 8192;

#[derive(Debug)]
struct Said {
    /// Namespace and name of the Event object, once it is created.
    object: Option<(String, String)>,
    count: i32,
    sent: i32,
    sent_at: BootTime,
    seen_at: BootTime,
}

/// A count that the API server should know.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recount {
    pub(super) key: u64,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) count: i32,
}

/// Remembers what was said, how often, and in which Event object.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    said: HashMap<u64, Said>,
}

impl Repeats {
    /// Notes that it is said now; whether it was said before.
    pub(super) fn seen(&mut self, key: u64, now: BootTime) -> bool {
        if let Some(said) = self.said.get_mut(&key)
            && now.since(said.seen_at) < TTL
        {
            said.count = said.count.saturating_add(1);
            said.seen_at = now;
            return true;
        }
        if self.said.len() >= CAPACITY {
            self.expire(now);
        }
        if self.said.len() >= CAPACITY {
            // Better to say a thing twice than to grow.
            self.said.clear();
        }
        self.said.insert(key, Said { object: None, count: 1, sent: 1, sent_at: now, seen_at: now });
        false
    }

    /// It has become this Event object.
    pub(super) fn created(&mut self, key: u64, namespace: String, name: String) {
        if let Some(said) = self.said.get_mut(&key) {
            said.object = Some((namespace, name));
        }
    }

    /// It was not said after all.
    pub(super) fn forget(&mut self, key: u64) {
        self.said.remove(&key);
    }

    /// Counts that should be sent now; they count as sent.
    pub(super) fn due(&mut self, now: BootTime) -> Vec<Recount> {
        self.expire(now);
        let mut due = Vec::new();
        for (&key, said) in &mut self.said {
            if let Some((namespace, name)) = &said.object
                && said.count > said.sent
                && now.since(said.sent_at) >= REFRESH
            {
                (said.sent, said.sent_at) = (said.count, now);
                due.push(Recount { key, namespace: namespace.clone(), name: name.clone(), count: said.count });
            }
        }
        due
    }

    fn expire(&mut self, now: BootTime) {
        self.said.retain(|_, said| now.since(said.seen_at) < TTL || said.count > said.sent);
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
    fn after_ten_quiet_minutes_it_is_news() {
        let mut repeats = Repeats::default();
        assert!(!repeats.seen(1, at(0)));
        assert!(repeats.seen(1, at(599)));
        assert!(!repeats.seen(1, at(1199)));
        repeats.due(at(2000));
        assert_eq!(repeats.said.len(), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut repeats = Repeats::default();
        for key in 0..100_000 {
            repeats.seen(key, at(0));
        }
        assert!(repeats.said.len() <= CAPACITY);
    }
}
