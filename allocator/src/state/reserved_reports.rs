//! Which Services have been told that they hold an address of somebody else, so that each is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::ServiceName;

/// What has been reported in this term.
#[derive(Debug, Default)]
pub(super) struct ReservedReports(BTreeMap<ServiceName, BTreeSet<IpAddr>>);

impl ReservedReports {
    /// Notes a report. Returns whether it is the first.
    pub(super) fn note(&mut self, name: &ServiceName, address: IpAddr) -> bool {
        self.0.entry(name.clone()).or_default().insert(address)
    }

    /// The address is nobody else's any more.
    pub(super) fn forget(&mut self, name: &ServiceName, address: IpAddr) {
        if let Some(reported) = self.0.get_mut(name) {
            reported.remove(&address);
        }
    }

    /// The Service holds these addresses and no others.
    pub(super) fn retain(&mut self, name: &ServiceName, held: &[IpAddr]) {
        if let Some(reported) = self.0.get_mut(name) {
            reported.retain(|address| held.contains(address));
            if reported.is_empty() {
                self.0.remove(name);
            }
        }
    }

    /// A term begins.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
