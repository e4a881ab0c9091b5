//! Whether a sidecar answers, and how much it is asked at a time.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use runtime::BootTime;

use super::call::Trouble;
use crate::service::Name;

/// Calls under way to one sidecar.
pub(super) const IN_FLIGHT: usize = 16;
/// The pause after the first call without an answer; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause, so that an outage ends for us soon after it ends.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A sidecar that does not answer.
#[derive(Debug)]
struct Silence {
    text: String,
    failures: u32,
    /// When one call may be tried.
    try_at: BootTime,
}

/// One sidecar, by its socket.
#[derive(Debug, Default)]
pub(super) struct Sidecar {
    pub(super) in_flight: usize,
    /// Leases with something to call, by group and Service.
    pub(super) queue: VecDeque<(String, Name)>,
    /// The same, not before a time.
    pub(super) later: BTreeSet<(BootTime, String, Name)>,
    silence: Option<Silence>,
    answered: bool,
}

impl Sidecar {
    /// Whether one more call may be sent. To who does not answer, one at a time, with pauses.
    pub(super) fn has_room(&self, now: BootTime) -> bool {
        match &self.silence {
            Some(silence) => self.in_flight == 0 && now >= silence.try_at,
            None => self.in_flight < IN_FLIGHT,
        }
    }

    /// Why it is taken for dead, if it is.
    pub(super) fn silence(&self) -> Option<&str> {
        self.silence.as_ref().map(|silence| silence.text.as_str())
    }

    /// Whether it has ever answered.
    pub(super) const fn has_answered(&self) -> bool {
        self.answered
    }

    /// Notes whether a call was answered, a refusal included; whether that is news.
    pub(super) fn heard(&mut self, silent: Option<&Trouble>, now: BootTime) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(trouble) = silent else {
            let news = self.silence.take().is_some() || !self.answered;
            self.answered = true;
            return news;
        };
        let news = self.silence.is_none();
        // The sentence of the first failure stays, so that it is told once.
        let silence = self.silence.get_or_insert_with(|| Silence {
            text: trouble.text.clone(),
            failures: 0,
            try_at: BootTime::default(),
        });
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(silence.failures.min(16))).min(LONGEST_PAUSE);
        silence.failures = silence.failures.saturating_add(1);
        silence.try_at = now + pause;
        news
    }

    /// Leases whose pause is over.
    pub(super) fn due(&mut self, now: BootTime) -> Vec<(String, Name)> {
        let mut due = Vec::new();
        while let Some(first) = self.later.first()
            && first.0 <= now
            && let Some((_, group, name)) = self.later.pop_first()
        {
            due.push((group, name));
        }
        due
    }
}
