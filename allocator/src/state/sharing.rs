//! Services that hold the same address: who may, and who loses it.

use std::net::IpAddr;

use api_types::names::reason;

use super::services::Services;
use crate::addresses::AddressTable;
use crate::model::{Service, ServiceName, Sharing, SharingConflict};

/// Two Services that hold an address and do not agree to share it.
#[derive(Debug)]
pub(super) struct Disagreement {
    pub(super) address: IpAddr,
    pub(super) services: [ServiceName; 2],
    /// The reason for the Kubernetes event.
    pub(super) reason: &'static str,
    pub(super) why: String,
}

/// The addresses that the Service must give up because an older Service holds them and neither has a sharing key.
///
/// Where one of the two has a key, the address was shared by consent and a Service was edited since. Nobody loses an
/// address for that.
pub(super) fn lost_addresses(services: &Services, addresses: &AddressTable, service: &Service) -> Vec<IpAddr> {
    let is_lost = |address: &&IpAddr| {
        addresses.holders(**address).iter().filter(|holder| **holder != service.name).any(|holder| {
            services.get(holder).is_some_and(|other| {
                is_duplicate(&service.sharing, &other.sharing) && other.seniority() < service.seniority()
            })
        })
    };
    service.addresses.iter().filter(is_lost).copied().collect()
}

/// The disagreements between the Service and the other holders of these addresses.
pub(super) fn disagreements(
    services: &Services,
    table: &AddressTable,
    name: &ServiceName,
    addresses: &[IpAddr],
) -> Vec<Disagreement> {
    let Some(service) = services.get(name) else { return Vec::new() };
    let mut found = Vec::new();
    for &address in addresses {
        for other in table.holders(address).iter().filter(|holder| *holder != name) {
            let Some(holder) = services.get(other) else { continue };
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
