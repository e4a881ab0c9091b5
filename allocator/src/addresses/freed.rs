//! Addresses that were freed a short time ago.
//!
//! Clients of the Service that had one may still use it. A Service that only hints at the address does not get it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use runtime::BootTime;

use crate::model::ServiceName;

/// How long an address is remembered.
const MEMORY: Duration = Duration::from_secs(60);

/// The addresses that were freed last, and by which Service.
#[derive(Debug, Default)]
pub struct FreedAddresses {
    freed: BTreeMap<IpAddr, (ServiceName, BootTime)>,
}

impl FreedAddresses {
    /// Notes addresses that the Service has freed.
    pub fn note(&mut self, name: &ServiceName, addresses: &[IpAddr], now: BootTime) {
        if !addresses.is_empty() {
            self.freed.retain(|_, (_, at)| now.since(*at) < MEMORY);
        }
        self.freed.extend(addresses.iter().map(|address| (*address, (name.clone(), now))));
    }

    /// Whether another Service had the address a short time ago. An object that is created again under its name is the
    /// same Service here: so a backup is restored.
    #[must_use]
    pub fn was_anothers(&self, address: IpAddr, name: &ServiceName, now: BootTime) -> bool {
        self.freed.get(&address).is_some_and(|(by, at)| by != name && now.since(*at) < MEMORY)
    }
}
