//! What a Service has been given, judged by our marks, its status and what the agents tell.
//!
//! | Marks | What is ours |
//! |---|---|
//! | a list for this object | the list, whatever the status shows |
//! | the same, and a release that does not know the list wrote the status last | the status |
//! | none, and this process remembers that they and the status were taken off | what the Service was given last |
//! | none | what counts as given by us ([`Provenance::counts_as_given`](api_types::provenance::Provenance)) |
//! | those of another object | what an agent has for this one |
//!
//! Everything else in the status is another load balancer's.

use std::net::IpAddr;

use api_types::provenance::Evidence;

use super::outcome::Snapshot;
use crate::external::ExternalAllocations;
use crate::model::{GroupTable, Owner, Service, is_external};

/// How sure it is what the Service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The list says it.
    Listed,
    /// The list is missing or behind, and has to be written.
    Unlisted,
    /// Not all agents have told yet what their kernels have. Nothing may be done.
    Undecided,
    /// Marks and status were copied from another object. Nothing of it is this one's.
    Copied,
}

/// What a Service has been given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// The addresses that we gave, in order.
    pub addresses: Vec<IpAddr>,
    /// Addresses in the status that another load balancer gave.
    pub foreign: Vec<IpAddr>,
    /// How sure that is.
    pub basis: Basis,
}

impl Allocation {
    /// Judges a Service.
    #[must_use]
    pub fn of(snapshot: &Snapshot<'_>, service: &Service, last_given: &[IpAddr]) -> Self {
        if service.provenance.list.is_some() {
            let claimed = service.claimed().iter().copied();
            let addresses: Vec<IpAddr> = claimed.filter(|address| still_has(snapshot, service, *address)).collect();
            let basis = if service.believes_status() { Basis::Unlisted } else { Basis::Listed };
            let foreign = service.addresses.iter().copied().filter(|address| !addresses.contains(address)).collect();
            return Self { addresses, foreign, basis };
        }
        if counts_more_than_status(service, last_given) {
            let is_foreign = |address: &IpAddr| !last_given.contains(address);
            let foreign: Vec<IpAddr> = service.addresses.iter().copied().filter(is_foreign).collect();
            let shown = last_given.iter().all(|address| service.shows(*address));
            let basis = if shown { Basis::Unlisted } else { Basis::Listed };
            return Self { addresses: last_given.to_vec(), foreign, basis };
        }
        let (addresses, foreign): (Vec<IpAddr>, Vec<IpAddr>) =
            service.addresses.iter().partition(|address| counts_as_given(snapshot, service, **address));
        let copied = || foreign.iter().all(|address| service.provenance.hint.contains(address));
        let basis = if foreign.is_empty() {
            Basis::Unlisted
        } else if !snapshot.heard_all {
            Basis::Undecided
        } else if addresses.is_empty() && copied() {
            Basis::Copied
        } else {
            Basis::Unlisted
        };
        Self { addresses, foreign, basis }
    }

    /// Whether all that the status shows is another load balancer's.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.basis == Basis::Unlisted && self.addresses.is_empty() && !self.foreign.is_empty()
    }
}

/// Whether the Service still has an address of its list. A sidecar may have taken back one that the status does not show,
/// while the Service was of another type: only the sidecar knows, and gives the same again if it did not.
fn still_has(snapshot: &Snapshot<'_>, service: &Service, address: IpAddr) -> bool {
    let group = service.written_group(address).and_then(|name| snapshot.groups.get(name));
    service.addresses.contains(&address)
        || !group.is_some_and(is_external)
        || snapshot.external.has_given(&Owner::from(service), address)
}

/// Whether what a Service without a list was given last is still its own. It is not if an earlier release of ours gave it
/// something else since.
fn counts_more_than_status(service: &Service, last_given: &[IpAddr]) -> bool {
    let shows_it = || service.addresses.iter().all(|address| last_given.contains(address));
    !last_given.is_empty() && (!service.writers.status_by_us || shows_it())
}

/// Whether an address in the status of a Service without a list counts as given by us.
#[must_use]
pub fn counts_as_given(snapshot: &Snapshot<'_>, service: &Service, address: IpAddr) -> bool {
    let written = service.written_group(address).and_then(|name| snapshot.groups.get(name));
    // `announcing-*` may have been copied together with the marks of another object.
    let unlisted = service.provenance.list.is_none() && !service.provenance.for_another;
    let announced = unlisted && service.announced.iter().any(|(announced, _)| *announced == address);
    let evidence = Evidence {
        in_pool: snapshot.groups.group_of(address).is_some(),
        external: written.is_some_and(is_external),
        held: announced || snapshot.held.is_held(service, address),
    };
    !snapshot.held.own.contains(&address) && service.provenance.counts_as_given(evidence)
}

/// The group whose sidecar gave an address that the Service has, whatever range contains it by now: a group with ranges that
/// is made over it takes nothing from the Service, and the sidecar must not give the address to others.
#[must_use]
pub fn sidecar_group<'a>(
    groups: &GroupTable,
    external: &'a ExternalAllocations,
    service: &'a Service,
    address: IpAddr,
) -> Option<&'a str> {
    let shown = service.written.by_us && service.addresses.contains(&address);
    let written = || service.written_group(address).filter(|name| shown && groups.get(name).is_some_and(is_external));
    external.group_in_use(&Owner::from(service), address).or_else(written)
}
