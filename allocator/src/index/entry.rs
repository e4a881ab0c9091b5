//! What is known of one Service.

use std::net::IpAddr;

use runtime::events::Event;

use crate::service::{Service, is_ours};

/// A write under way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    /// The patch; answers to others do not count.
    pub(super) id: u64,
    /// The addresses that the Service holds if it succeeds.
    pub(super) addresses: Vec<IpAddr>,
    /// To tell if it succeeds.
    pub(super) events: Vec<Event>,
}

/// A Service and what goes on around it.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its newest known state.
    pub(super) service: Service,
    /// Whether it waits to be judged.
    pub(super) queued: bool,
    /// The write under way, if any; there is never more than one.
    pub(super) flight: Option<Flight>,
    /// The problem that was told last, so that it is told once.
    pub(super) told: Option<Box<str>>,
}

impl Entry {
    pub(super) const fn new(service: Service) -> Self {
        Self { service, queued: false, flight: None, told: None }
    }

    /// The addresses that it has, and those that it may have by now.
    pub(super) fn all_addresses(&self) -> Vec<IpAddr> {
        let mut addresses = self.service.addresses.clone();
        for &address in self.flight.iter().flat_map(|flight| &flight.addresses) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Whether the new state differs in anything that the judgement looks at.
    pub(super) fn differs(&self, new: &Service) -> bool {
        let old = &self.service;
        old.scope != new.scope
            || old.has_cluster_ip != new.has_cluster_ip
            || old.families != new.families
            || old.policy != new.policy
            || old.claim != new.claim
            || old.wishes != new.wishes
            || old.marks != new.marks
            || old.addresses != new.addresses
            || old.conditions != new.conditions
    }

    /// Whether annotations of ours are on it, or on their way to it.
    pub(super) fn may_be_marked(&self) -> bool {
        let service = &self.service;
        service.marks.any || service.marks.fence || self.flight.is_some() || service.conditions.iter().any(is_ours)
    }
}
