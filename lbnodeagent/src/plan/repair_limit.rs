//! The limit for repairs of an address that somebody else keeps removing.
//!
//! The first repairs are immediate. Without a limit, a program that removes an address again and again (another address
//! manager, a second agent) would keep this one and its log busy.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use runtime::BootTime;

/// So many repairs of one address are immediate within [`WINDOW`].
const MAX: u32 = 10;
/// Further repairs wait until this time is over.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts repairs.
#[derive(Debug, Default)]
pub struct RepairLimit {
    counts: BTreeMap<IpAddr, (BootTime, u32)>,
    purged: BootTime,
}

impl RepairLimit {
    /// The address was put back.
    pub fn repaired(&mut self, ip: IpAddr, now: BootTime) {
        if now.since(self.purged) >= WINDOW {
            self.purged = now;
            self.counts.retain(|_, (since, _)| now.since(*since) < WINDOW);
        }
        let (since, count) = self.counts.entry(ip).or_insert((now, 0));
        if now.since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
    }

    /// Until when a further repair must wait; nothing if it may be done now.
    #[must_use]
    pub fn until(&self, ip: IpAddr, now: BootTime) -> Option<BootTime> {
        let (since, count) = self.counts.get(&ip)?;
        (*count >= MAX && now.since(*since) < WINDOW).then(|| *since + WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_repairs_and_then_a_pause() {
        let at = |seconds| BootTime::from_duration(Duration::from_secs(seconds));
        let mut repair_limit = RepairLimit::default();
        let (ip, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        for _ in 0..MAX {
            assert_eq!(repair_limit.until(ip, at(1)), None);
            repair_limit.repaired(ip, at(1));
        }
        assert_eq!(repair_limit.until(ip, at(2)), Some(at(11)));
        assert_eq!(repair_limit.until(other, at(2)), None);
        assert_eq!(repair_limit.until(ip, at(11)), None);
        repair_limit.repaired(other, at(12));
        assert_eq!(repair_limit.counts.len(), 1);
    }
}
