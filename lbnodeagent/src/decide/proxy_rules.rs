//! Whether the rules of a kube-proxy that is here were taken away under it.

use std::time::Duration;

use runtime::BootTime;

/// The time between the two looks after which rules count as gone.
pub const SECOND_LOOK: Duration = Duration::from_secs(2);

/// Whether the rules of a kube-proxy that is here were taken away under it. It looks at them again at the next change of a
/// Service, or in an hour. Rules that were never seen say nothing: those of legacy iptables cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RulesSeen {
    /// The families whose rules were seen.
    seen: [bool; 2],
    missing_since: Option<BootTime>,
    /// When kube-proxy last said that it is here, in the mode whose rules are looked for.
    said: Option<BootTime>,
    gone: bool,
}

impl RulesSeen {
    /// Whether a second look is due soon.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.missing_since.is_some() && !self.gone
    }

    /// Whether they are gone.
    #[must_use]
    pub const fn are_gone(&self) -> bool {
        self.gone
    }

    /// Whether some were seen.
    #[must_use]
    pub fn were_seen(&self) -> bool {
        self.seen.contains(&true)
    }

    /// kube-proxy has said that it is here, in the same mode.
    pub const fn confirm(&mut self, now: BootTime) {
        self.said = Some(now);
    }

    /// Takes over a look: of which families there are rules. They are gone if kube-proxy has said its mode since they were
    /// missed: one that begins in another mode removes the rules of the former first.
    pub fn look(&mut self, present: [bool; 2], now: BootTime) {
        let missed = self.seen.iter().zip(present).any(|(seen, present)| *seen && !present);
        if missed {
            let since = *self.missing_since.get_or_insert(now);
            let confirmed = self.said.is_some_and(|said| said > since);
            self.gone |= confirmed && now.since(since) >= SECOND_LOOK;
        } else {
            (self.missing_since, self.gone) = (None, false);
        }
        for (seen, present) in self.seen.iter_mut().zip(present) {
            *seen |= present;
        }
    }

    /// Forgets everything: there is no kube-proxy, or another one.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    #[test]
    fn case_61_rules_that_were_seen_and_are_missed_twice_are_gone() {
        let mut rules = RulesSeen::default();
        rules.look([false, false], at(1));
        rules.look([false, false], at(10));
        assert!(!rules.are_gone() && !rules.is_in_doubt());
        rules.look([true, false], at(20));
        rules.look([true, false], at(30));
        assert!(!rules.are_gone() && !rules.is_in_doubt());
        rules.look([false, true], at(40));
        assert!(rules.is_in_doubt() && !rules.are_gone());
        rules.confirm(at(41));
        rules.look([false, true], at(41));
        assert!(!rules.are_gone());
        rules.look([false, true], at(42));
        assert!(rules.are_gone() && !rules.is_in_doubt());
        rules.look([true, true], at(50));
        assert!(!rules.are_gone());
        rules.look([true, false], at(60));
        assert!(rules.is_in_doubt());
        rules.forget();
        rules.look([false, false], at(70));
        assert!(!rules.is_in_doubt());
    }

    #[test]
    fn a_kube_proxy_that_changes_its_mode_takes_its_own_rules_away() {
        let mut rules = RulesSeen::default();
        rules.confirm(at(1));
        rules.look([true, true], at(2));
        rules.look([false, false], at(5));
        rules.look([false, false], at(8));
        assert!(rules.is_in_doubt() && !rules.are_gone(), "what it said is older than that");
        rules.confirm(at(9));
        rules.look([false, false], at(9));
        assert!(rules.are_gone(), "it says the same mode");
    }
}
