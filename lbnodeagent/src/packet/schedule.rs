//! When announcements are sent: at the configured times after each claim.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use runtime::BootTime;

/// Announcements that are still to be sent.
#[derive(Debug, Default)]
pub struct Schedule {
    due: BTreeSet<(BootTime, IpAddr)>,
    of: BTreeMap<IpAddr, BTreeSet<BootTime>>,
}

impl Schedule {
    /// The address was claimed now; an earlier sequence of it is replaced.
    pub fn claim(&mut self, address: IpAddr, times: &[Duration], now: BootTime) {
        self.cancel(address);
        for time in times {
            self.due.insert((now + *time, address));
            self.of.entry(address).or_default().insert(now + *time);
        }
    }

    /// The address is no longer ours.
    pub fn cancel(&mut self, address: IpAddr) {
        for time in self.of.remove(&address).unwrap_or_default() {
            self.due.remove(&(time, address));
        }
    }

    /// When the next one is due.
    #[must_use]
    pub fn wake(&self) -> Option<BootTime> {
        self.due.first().map(|(time, _)| *time)
    }

    /// The addresses whose announcement is due; they count as sent.
    pub fn take(&mut self, now: BootTime) -> BTreeSet<IpAddr> {
        let mut taken = BTreeSet::new();
        while let Some((time, address)) = self.due.first().copied().filter(|(time, _)| *time <= now) {
            self.due.remove(&(time, address));
            if let Some(times) = self.of.get_mut(&address) {
                times.remove(&time);
                if times.is_empty() {
                    self.of.remove(&address);
                }
            }
            taken.insert(address);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> BootTime {
        BootTime::from_duration(Duration::from_millis(millis))
    }

    #[test]
    fn a_sequence_runs_off_and_is_forgotten() {
        let mut schedule = Schedule::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        schedule.claim(ip, &[0, 100].map(Duration::from_millis), at(1000));
        assert_eq!(schedule.take(at(1000)), [ip].into());
        assert!(schedule.take(at(1099)).is_empty());
        assert_eq!(schedule.wake(), Some(at(1100)));
        assert_eq!(schedule.take(at(1100)), [ip].into());
        assert!(schedule.wake().is_none() && schedule.of.is_empty());
    }

    #[test]
    fn a_lost_address_is_silent_and_a_new_claim_starts_over() {
        let mut schedule = Schedule::default();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        schedule.claim(ip, &[0, 100].map(Duration::from_millis), at(0));
        schedule.claim(ip, &[0, 100].map(Duration::from_millis), at(50));
        assert_eq!(schedule.due.len(), 2);
        schedule.cancel(ip);
        assert!(schedule.wake().is_none());
    }
}
