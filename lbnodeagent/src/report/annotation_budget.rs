//! How often a node writes the announcing annotation of a Service.
//!
//! Some programs delete every annotation that they did not write as soon as they see it, or overwrite it from an old copy.
//! A node writes what it has to say of a family at once, and puts it back once a minute. If it has come to announce an
//! address meanwhile, that is news and not the same again.
//!
//! A node that starts knows nothing of an earlier write. The object does not tell either: the annotation is all that our
//! field manager owns, so whoever deletes it deletes the entry in the managed fields as well.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::Family;
use runtime::BootTime;

/// The time between two writes of the same.
const PAUSE: Duration = Duration::from_secs(60);

/// The annotations that this node wrote within the last minute, by the UID of their Service.
#[derive(Debug, Default)]
pub struct AnnotationBudget(BTreeMap<(String, Family), BootTime>);

impl AnnotationBudget {
    /// When the annotation of this Service may be written. `news` is when this node came to announce the last of the
    /// addresses of this family that it announces; nothing if it announces none.
    #[must_use]
    pub fn ready_at(&self, uid: &str, family: Family, news: Option<BootTime>, now: BootTime) -> BootTime {
        match self.0.get(&(uid.to_owned(), family)) {
            Some(at) if news.is_none_or(|news| news <= *at) => now.max(*at + PAUSE),
            _ => now,
        }
    }

    /// It has been written.
    pub fn written(&mut self, uid: &str, family: Family, now: BootTime) {
        self.0.retain(|_, at| now.since(*at) < PAUSE);
        self.0.insert((uid.to_owned(), family), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    #[test]
    fn case_66_an_annotation_that_somebody_deletes_is_written_again_once_a_minute() {
        let mut budget = AnnotationBudget::default();
        let (mut now, mut writes) = (at(0), Vec::new());
        while now < at(240) {
            now = budget.ready_at("uid", Family::V4, Some(at(0)), now + Duration::from_secs(1));
            budget.written("uid", Family::V4, now);
            writes.push(now);
        }
        assert_eq!(writes, [at(1), at(61), at(121), at(181), at(241)]);
        assert_eq!(budget.ready_at("uid", Family::V6, None, at(242)), at(242));
        assert_eq!(budget.ready_at("another", Family::V4, None, at(242)), at(242));
        // After a quiet minute it is as in the beginning, and nothing is kept.
        assert_eq!(budget.ready_at("uid", Family::V4, None, at(301)), at(301));
        budget.written("another", Family::V4, at(301));
        assert_eq!(budget.0.len(), 1);
    }

    #[test]
    fn an_address_that_has_moved_away_and_back_is_told_at_once() {
        let mut budget = AnnotationBudget::default();
        budget.written("uid", Family::V4, at(10));
        assert_eq!(budget.ready_at("uid", Family::V4, Some(at(9)), at(20)), at(70));
        assert_eq!(budget.ready_at("uid", Family::V4, Some(at(15)), at(20)), at(20));
        // It has nothing to say any more but that it does not announce.
        assert_eq!(budget.ready_at("uid", Family::V4, None, at(20)), at(70));
    }
}
