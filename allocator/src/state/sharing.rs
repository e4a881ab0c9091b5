//! Services that hold the same address: who may, and who loses it.

use std::cmp::Ordering;
use std::net::IpAddr;

use api_types::names::reason;

use super::services::Services;
use crate::addresses::AddressTable;
use crate::model::{Scope, Service, ServiceName, Sharing, SharingConflict};

/// Two Services that hold an address and do not agree to share it.
#[derive(Debug)]
pub(super) struct Disagreement {
    pub(super) address: IpAddr,
    pub(super) services: [ServiceName; 2],
    /// The reason for the Kubernetes event.
    pub(super) reason: &'static str,
    pub(super) why: String,
}

/// The addresses that the Service must give up because another Service has the better right to them.
///
/// That is the one with the stronger [`Title`], and of two with the same title the older one. Where one of the two has a
/// sharing key, the address was shared by consent and a Service was edited since. Nobody loses a shown address for that.
pub(super) fn lost_addresses(services: &Services, addresses: &AddressTable, service: &Service) -> Vec<IpAddr> {
    let is_lost = |address: &IpAddr| {
        let others = addresses.holders(*address).iter().filter(|holder| **holder != service.name);
        others.filter_map(|holder| services.get(holder)).filter(|other| claims(other, *address)).any(|other| {
            let title = |of| Title::of(services, of, *address);
            let (ours, theirs) = (title(service), title(other));
            let is_duplicate = is_duplicate(&service.sharing, &other.sharing);
            match ours.cmp(&theirs) {
                Ordering::Less if ours == Title::Listed => service.sharing.conflict(&other.sharing).is_some(),
                Ordering::Less => is_duplicate,
                Ordering::Equal => is_duplicate && other.seniority() < service.seniority(),
                Ordering::Greater => false,
            }
        })
    };
    let own = services.last_given(&service.name).iter().chain(service.claimed()).copied();
    own.filter(is_lost).collect()
}

/// What speaks for it that an address is the Service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Title {
    /// The list alone. An earlier release, which knows the status alone, or we while the Service was of another type, may
    /// have given it away.
    Listed,
    /// A write in flight.
    Reserved,
    /// The status alone.
    Shown,
    /// Both.
    Both,
}

impl Title {
    fn of(services: &Services, service: &Service, address: IpAddr) -> Self {
        let listed = service.provenance.list.as_ref().is_some_and(|list| list.contains(&address));
        match (listed, service.addresses.contains(&address)) {
            (true, true) => Self::Both,
            (false, true) => Self::Shown,
            (_, false) if services.is_reserved(&service.name, address) => Self::Reserved,
            (_, false) => Self::Listed,
        }
    }
}

/// Whether the address is the Service's own, and not one that somebody wrote over its own.
fn claims(service: &Service, address: IpAddr) -> bool {
    !service.addresses.contains(&address) || service.claimed().contains(&address)
}

/// Whether the address is known to be ours to give, and not another load balancer's, which has rules of its own.
fn is_ours(services: &Services, service: &Service, address: IpAddr) -> bool {
    let provenance = &service.provenance;
    let marked = provenance.lists(address) == Some(true) || provenance.by_us && !provenance.for_another;
    let remembered =
        services.is_reserved(&service.name, address) || services.last_given(&service.name).contains(&address);
    service.scope != Scope::OtherClass && (marked || provenance.our_class || remembered)
}

/// The disagreements between the Service and the other holders of these addresses. At least one of the two has it from us.
pub(super) fn disagreements(
    services: &Services,
    table: &AddressTable,
    name: &ServiceName,
    addresses: &[IpAddr],
) -> Vec<Disagreement> {
    let Some(service) = services.get(name) else { return Vec::new() };
    let mut found = Vec::new();
    for &address in addresses.iter().filter(|address| claims(service, **address)) {
        for other in table.holders(address).iter().filter(|holder| *holder != name) {
            let Some(holder) = services.get(other).filter(|other| claims(other, address)) else { continue };
            if !is_ours(services, service, address) && !is_ours(services, holder, address) {
                continue;
            }
            if let Some((reason, why)) = disagreement(&service.sharing, &holder.sharing) {
                found.push(Disagreement { address, services: [name.clone(), other.clone()], reason, why });
            }
        }
    }
    found
}

/// Why two Services should not share an address: the reason for the Kubernetes event, and a sentence.
pub(super) fn disagreement(one: &Sharing, two: &Sharing) -> Option<(&'static str, String)> {
    Some(match one.conflict(two)? {
        SharingConflict::Key if is_duplicate(one, two) => (
            reason::DUPLICATE_ADDRESS,
            "neither has a sharing key, so only the older Service keeps the address"
                .to_owned(),
        ),
        SharingConflict::Key => (
            reason::SHARING_CONFLICT,
            "their annotations purelb.io/allow-shared-ip no longer agree; both keep the address: give both the same value, or move one with purelb.io/re-evaluate"
                .to_owned(),
        ),
        SharingConflict::Port(port) => (
            reason::SHARING_CONFLICT,
            format!("both want port {port}; both keep the address, but only one gets the traffic of the port"),
        ),
    })
}

/// Whether it can only be a mistake that both hold an address: neither Service asks to share.
const fn is_duplicate(one: &Sharing, two: &Sharing) -> bool {
    one.key.is_none() && two.key.is_none()
}
