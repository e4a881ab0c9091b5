//! Addresses that were freed a short time ago.
//!
//! Clients of the Service that had one may still use it. A Service that only hints at the address does not get it. And a
//! predecessor that planned a write a short time ago still saw these addresses in use.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use api_types::AddressRange;
use runtime::BootTime;

use crate::model::ServiceName;

/// For how long clients may still use an address.
const IN_USE: Duration = Duration::from_secs(60);
/// How long an address is remembered: for as long as a write may be late.
pub const MEMORY: Duration = Duration::from_secs(600);

/// The addresses that were freed last, and by which Service.
#[derive(Debug, Default)]
pub struct FreedAddresses {
    freed: BTreeMap<IpAddr, (ServiceName, BootTime)>,
    /// When Services ceased to wait for an address without getting one. Writes under way may have held one for them.
    gave_up: VecDeque<BootTime>,
    swept: BootTime,
}

impl FreedAddresses {
    /// Notes addresses that the Service has freed.
    pub fn note(&mut self, name: &ServiceName, addresses: &[IpAddr], now: BootTime) {
        if now.since(self.swept) >= IN_USE {
            self.swept = now;
            self.freed.retain(|_, (_, at)| now.since(*at) < MEMORY);
            self.gave_up.retain(|at| now.since(*at) < MEMORY);
        }
        self.freed.extend(addresses.iter().map(|address| (*address, (name.clone(), now))));
    }

    /// Notes that a Service does not wait for an address any more, and has not got one.
    pub fn note_given_up(&mut self, now: BootTime) {
        self.gave_up.push_back(now);
    }

    /// How many addresses of the range, and of no known range, may have been in use within [`MEMORY`] and are not any more.
    #[must_use]
    pub fn recently_in_use(&self, range: AddressRange, now: BootTime) -> u128 {
        let freed = self.freed.range(range.first()..=range.last()).filter(|(_, (_, at))| now.since(*at) < MEMORY);
        let gave_up = self.gave_up.iter().filter(|at| now.since(**at) < MEMORY);
        u128::try_from(freed.count().saturating_add(gave_up.count())).unwrap_or(u128::MAX)
    }

    /// Whether a Service had the address within [`MEMORY`].
    #[must_use]
    pub fn was_in_use(&self, address: IpAddr, now: BootTime) -> bool {
        self.freed.get(&address).is_some_and(|(_, at)| now.since(*at) < MEMORY)
    }

    /// Whether another Service had the address a short time ago. An object that is created again under its name is the
    /// same Service here: so a backup is restored.
    #[must_use]
    pub fn was_anothers(&self, address: IpAddr, name: &ServiceName, now: BootTime) -> bool {
        self.freed.get(&address).is_some_and(|(by, at)| by != name && now.since(*at) < IN_USE)
    }
}
