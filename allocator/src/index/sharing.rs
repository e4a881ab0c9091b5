//! Addresses with several holders: who has the right, who must go.

use std::net::IpAddr;

use api_types::names::reason;
use runtime::events::Kind;
use tracing::warn;

use super::Index;
use crate::pool::{Claim, Conflict};
use crate::service::{Name, Scope, Service};

impl Index {
    /// The addresses of a Service that belong to another: neither has a sharing key, and the other is
    /// older. Where one of them has a key, the address was shared by consent and somebody edited a
    /// Service since: nobody is moved for that.
    pub(super) fn lost(&self, service: &Service) -> Vec<IpAddr> {
        let loses = |address: &&IpAddr| {
            self.book.holders(**address).iter().filter(|holder| **holder != service.name).any(|holder| {
                self.services.get(holder).is_some_and(|other| {
                    is_duplicate(&service.claim, &other.service.claim)
                        && other.service.seniority() < service.seniority()
                })
            })
        };
        service.addresses.iter().filter(loses).copied().collect()
    }

    /// Looks at every address of the Service that others hold too, and says what is wrong.
    pub(super) fn check_sharing(&mut self, name: &Name, addresses: &[IpAddr]) {
        for &address in addresses {
            let others: Vec<Name> =
                self.book.holders(address).iter().filter(|holder| *holder != name).cloned().collect();
            for other in others {
                self.check_pair(name, &other, address);
            }
        }
    }

    fn check_pair(&mut self, one: &Name, two: &Name, address: IpAddr) {
        let (Some(one), Some(two)) = (self.service(one), self.service(two)) else { return };
        let (reason, why) = match one.claim.conflict(&two.claim) {
            None => return,
            Some(Conflict::Key) if is_duplicate(&one.claim, &two.claim) => {
                (reason::DUPLICATE_ADDRESS, "neither has the right to share it: the older Service keeps it".to_owned())
            }
            Some(Conflict::Key) => {
                let why = "their annotations purelb.io/allow-shared-ip no longer agree; nobody is moved";
                (reason::SHARING_CONFLICT, why.to_owned())
            }
            Some(Conflict::Port(port)) => (
                reason::SHARING_CONFLICT,
                format!("both want port {port}; nobody is moved, but only one gets the traffic"),
            ),
        };
        let text = |other: &Service| format!("{address} is also in use by {}: {why}", other.name);
        let notes = [(one.reference(), text(two)), (two.reference(), text(one))];
        let names = [(one.name.clone(), one.scope), (two.name.clone(), two.scope)];
        warn!(op = "sharing", reason, address = %address, one = %one.name, two = %two.name, "{why}");
        if reason == reason::DUPLICATE_ADDRESS && self.leading {
            self.metrics.duplicates.inc();
        }
        for (object, note) in notes {
            self.say(object, Kind::Warning, reason, note);
        }
        for (name, scope) in names {
            if scope == Scope::Ours {
                self.enqueue(&name);
            }
        }
    }

    /// A holder leaves: what the others were told may be over, and they may be complete now.
    pub(super) fn recheck_sharers(&mut self, addresses: &[IpAddr], leaving: &Name) {
        let others: Vec<Name> = addresses
            .iter()
            .flat_map(|&address| self.book.holders(address))
            .filter(|holder| *holder != leaving)
            .cloned()
            .collect();
        for other in others {
            self.enqueue(&other);
        }
    }
}

/// Whether two claims on one address can only be a mistake: neither Service asks to share.
const fn is_duplicate(one: &Claim, two: &Claim) -> bool {
    one.key.is_none() && two.key.is_none()
}
