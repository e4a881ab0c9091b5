//! Whether this replica hears of changes. A leader that does not would give addresses by what it knew last.

use std::time::Duration;

use runtime::BootTime;

use super::watches::Essential;

/// How long reading the lists may take. Large ones have hundreds of pages.
const READING: Duration = Duration::from_secs(120);
/// How long a watch may be interrupted. A silent one has been so for 90 s already.
const INTERRUPTED: Duration = Duration::from_secs(10);

/// Which watches are current.
#[derive(Debug)]
pub(super) struct Hearing {
    services: bool,
    groups: bool,
    /// Until when this replica can lead although a watch is not current.
    patience: BootTime,
}

impl Hearing {
    /// All watches begin with a list.
    pub(super) fn reading(now: BootTime) -> Self {
        Self { services: false, groups: false, patience: now + READING }
    }

    /// A watch has become current, or is not any more.
    pub(super) fn set(&mut self, what: Essential, current: bool, now: BootTime) {
        if self.is_current() && !current {
            self.patience = now + INTERRUPTED;
        }
        match what {
            Essential::Services => self.services = current,
            Essential::Groups => self.groups = current,
        }
    }

    /// Whether this replica hears enough to lead.
    pub(super) fn can_lead(&self, now: BootTime) -> bool {
        self.is_current() || now < self.patience
    }

    const fn is_current(&self) -> bool {
        self.services && self.groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_68_a_replica_that_hears_nothing_does_not_lead() {
        let at = |seconds| BootTime::from_duration(Duration::from_secs(seconds));
        let mut hearing = Hearing::reading(at(100));
        assert!(hearing.can_lead(at(219)) && !hearing.can_lead(at(220)));
        hearing.set(Essential::Services, true, at(240));
        assert!(!hearing.can_lead(at(240)));
        hearing.set(Essential::Groups, true, at(241));
        assert!(hearing.can_lead(at(1000)));
        hearing.set(Essential::Groups, false, at(1000));
        hearing.set(Essential::Services, false, at(1005));
        assert!(hearing.can_lead(at(1009)) && !hearing.can_lead(at(1010)));
        hearing.set(Essential::Services, true, at(1011));
        assert!(!hearing.can_lead(at(1011)));
        hearing.set(Essential::Groups, true, at(1012));
        assert!(hearing.can_lead(at(1012)));
    }
}
