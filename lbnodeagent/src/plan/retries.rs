//! Backoff after operations that failed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use runtime::BootTime;

/// Half of the wait after the first failure; each further failure doubles it.
const UNIT: Duration = Duration::from_millis(250);
/// The longest wait between two tries.
const MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: BootTime,
    failures: u32,
}

/// The addresses that are tried again later.
#[derive(Debug, Default)]
pub struct Retries(BTreeMap<IpAddr, Retry>);

impl Retries {
    /// The addresses that are due.
    #[must_use]
    pub fn due(&self, now: BootTime) -> Vec<IpAddr> {
        self.0.iter().filter(|(_, retry)| retry.at <= now).map(|(ip, _)| *ip).collect()
    }

    /// An operation on the address has failed.
    pub fn failed(&mut self, ip: IpAddr, now: BootTime) {
        let failures = self.0.get(&ip).map_or(0, |retry| retry.failures).saturating_add(1);
        let wait = UNIT.saturating_mul(1 << failures.min(8)).min(MAX);
        self.0.insert(ip, Retry { at: now + wait, failures });
    }

    /// The address waits for a reason other than a failure.
    pub fn postpone(&mut self, ip: IpAddr, at: BootTime) {
        self.0.insert(ip, Retry { at, failures: 0 });
    }

    /// Nothing is left to try.
    pub fn remove(&mut self, ip: IpAddr) {
        self.0.remove(&ip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait() {
        let at = |millis| BootTime::from_duration(Duration::from_millis(millis));
        let ip = IpAddr::from([192, 0, 2, 1]);
        let mut retries = Retries::default();
        for (now, due) in [(0, 500), (500, 1500), (1500, 3500)] {
            retries.failed(ip, at(now));
            assert!(retries.due(at(due - 1)).is_empty());
            assert_eq!(retries.due(at(due)), [ip]);
        }
        for _ in 0..20 {
            retries.failed(ip, at(0));
        }
        assert!(retries.due(at(29_999)).is_empty());
        assert_eq!(retries.due(at(30_000)), [ip]);
        retries.remove(ip);
        assert!(retries.due(at(60_000)).is_empty());
    }
}
