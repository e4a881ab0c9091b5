//! How often a node writes the announcing annotation of a Service.
//!
//! Some programs delete every annotation that they did not write as soon as they see it, or overwrite the status, on
//! which the annotation depends. The first time it is written again at once. If that goes on, it is written once a minute
//! for each family.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::Family;
use runtime::BootTime;

/// The time between two writes while they go on.
const PAUSE: Duration = Duration::from_secs(60);

/// The last two writes of an annotation, the later one first.
#[derive(Debug, Clone, Copy)]
struct Last(BootTime, Option<BootTime>);

/// The annotations that this node wrote within the last two minutes, by the UID of their Service.
#[derive(Debug, Default)]
pub struct AnnotationBudget(BTreeMap<(String, Family), Last>);

impl AnnotationBudget {
    /// When the annotation of this Service may be written.
    #[must_use]
    pub fn ready_at(&self, uid: &str, family: Family, now: BootTime) -> BootTime {
        match self.0.get(&(uid.to_owned(), family)) {
            Some(Last(at, Some(before))) if now.since(*before) < PAUSE * 2 => now.max(*at + PAUSE),
            _ => now,
        }
    }

    /// It has been written.
    pub fn written(&mut self, uid: &str, family: Family, now: BootTime) {
        self.0.retain(|_, Last(at, _)| now.since(*at) < PAUSE * 2);
        let key = (uid.to_owned(), family);
        let before = self.0.get(&key).map(|Last(at, _)| *at);
        self.0.insert(key, Last(now, before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    #[test]
    fn case_66_an_annotation_that_somebody_deletes_is_written_again_at_once_and_then_once_a_minute() {
        let mut budget = AnnotationBudget::default();
        let (mut now, mut writes) = (at(0), Vec::new());
        while now < at(300) {
            now = budget.ready_at("uid", Family::V4, now + Duration::from_secs(1));
            budget.written("uid", Family::V4, now);
            writes.push(now);
        }
        assert_eq!(writes, [at(1), at(2), at(62), at(122), at(182), at(242), at(302)]);
        assert_eq!(budget.ready_at("uid", Family::V6, at(303)), at(303));
        assert_eq!(budget.ready_at("another", Family::V4, at(303)), at(303));
        // After two quiet minutes it is as in the beginning, and nothing is kept.
        assert_eq!(budget.ready_at("uid", Family::V4, at(422)), at(422));
        budget.written("another", Family::V4, at(422));
        assert_eq!(budget.0.len(), 1);
    }
}
