//! Writes to Services that the API server does not answer in time.
//!
//! One late answer happens. Two in a row for one Service have a cause that somebody has to find: most often a webhook
//! whose server does not answer. Who that may be is read from the API server, and told to the Services, in the log, and
//! by the condition `WritesUnanswered` of the groups. The Services themselves cannot show a condition, because their
//! status cannot be written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::ServiceName;

/// The number of writes in a row without an answer after which it is told.
const TOLD_AFTER: u32 = 2;
/// The most Services that are told one by one, until all are answered.
const MOST_TOLD: usize = 50;

/// The writes without an answer in this term.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// How many writes in a row had no answer.
    pub(super) in_a_row: BTreeMap<ServiceName, u32>,
    /// Services to tell, each with what happened to its write.
    pub(super) untold: BTreeMap<ServiceName, String>,
    pub(super) told: BTreeSet<ServiceName>,
    /// Which webhooks it may be, as last read.
    pub(super) cause: Option<String>,
}

impl Unanswered {
    /// The number of Services with several writes in a row without an answer, and the cause, if that is known.
    pub(super) fn summary(&self) -> Option<(usize, &str)> {
        let services = self.in_a_row.values().filter(|writes| **writes >= TOLD_AFTER).count();
        self.cause.as_deref().filter(|_| services > 0).map(|cause| (services, cause))
    }

    /// A write had no answer within this time.
    pub(super) fn add(&mut self, name: &ServiceName, took: Duration) {
        let writes = self.in_a_row.entry(name.clone()).or_default();
        *writes = writes.saturating_add(1);
        if *writes >= TOLD_AFTER {
            let (writes, seconds) = (*writes, took.as_secs());
            let text = format!(
                "{writes} writes of this Service's status in a row failed, because the API server did not carry out the last one within {seconds} s"
            );
            self.tell(name, text);
        }
    }

    pub(super) fn tell(&mut self, name: &ServiceName, text: String) {
        if !self.told.contains(name) && self.told.len() + self.untold.len() < MOST_TOLD {
            self.untold.insert(name.clone(), text);
        }
    }

    /// The last write was carried out, or there is none any more. Returns whether the summary changes.
    pub(super) fn end(&mut self, name: &ServiceName) -> bool {
        self.in_a_row.remove(name).is_some_and(|writes| writes >= TOLD_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_write_in_a_row_without_an_answer_is_told_and_of_many_services_some() {
        let mut unanswered = Unanswered::default();
        let name = |number: usize| ServiceName::new("shop", &number.to_string());
        unanswered.add(&name(0), Duration::from_secs(12));
        assert!(unanswered.untold.is_empty() && !unanswered.end(&name(0)));
        for number in 0..100 {
            unanswered.add(&name(number), Duration::from_secs(12));
            unanswered.add(&name(number), Duration::from_secs(12));
        }
        assert_eq!((unanswered.untold.len(), unanswered.summary()), (MOST_TOLD, None));
        unanswered.cause = Some("why".to_owned());
        assert_eq!(unanswered.summary(), Some((100, "why")));
        assert!(unanswered.end(&name(0)));
        assert_eq!(unanswered.summary(), Some((99, "why")));
    }
}
