//! Addresses with several holders: who has the right, who must go.

use std::net::IpAddr;

use api_types::names::condition::SHARING_CONFLICT;
use api_types::names::reason;
use k8s_openapi::jiff::Timestamp;
use runtime::events::Kind;
use serde_json::{Value, json};
use tracing::warn;

use super::Index;
use crate::pool::{Claim, Conflict};
use crate::service::{Name, Scope, Service, is_ours, of_others};

/// How many conflicts a sentence lists.
const LISTED: usize = 5;

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

    /// The conditions that the Service should have, if they are not those that it has: one that says who uses an address
    /// of it without the right to share it. As long as nothing is wrong it is absent.
    pub(super) fn conditions(&self, service: &Service) -> Option<Vec<Value>> {
        let told = service.conditions.iter().find(|condition| is_ours(condition));
        let wrong = match service.scope {
            Scope::Ignored => return None,
            Scope::OtherClass => None,
            Scope::Ours => self.conflicts(service),
        };
        let said = told.and_then(|condition| condition.get("message")?.as_str());
        if said == wrong.as_deref() {
            return None;
        }
        let mut conditions = of_others(&service.conditions);
        if let Some(message) = wrong {
            // The API has seconds only.
            let now = Timestamp::from_second(self.time.as_second()).unwrap_or(self.time);
            let since = told.and_then(|condition| condition.get("lastTransitionTime")).cloned();
            conditions.push(json!({
                "type": SHARING_CONFLICT, "status": "True", "reason": reason::SHARING_CONFLICT, "message": message,
                "lastTransitionTime": since.unwrap_or_else(|| json!(now.to_string())),
            }));
        }
        Some(conditions)
    }

    /// Who else uses which address of the Service, and why that is wrong.
    fn conflicts(&self, service: &Service) -> Option<String> {
        let mut found = Vec::new();
        for &address in &service.addresses {
            for other in self.book.holders(address).iter().filter(|holder| **holder != service.name) {
                let Some(other) = self.service(other).filter(|other| other.addresses.contains(&address)) else {
                    continue;
                };
                if let Some((reason::SHARING_CONFLICT, why)) = disagreement(&service.claim, &other.claim) {
                    found.push(format!("{address} is also in use by {}: {why}", other.name));
                }
            }
        }
        // The order of holders is that in which they were heard of.
        found.sort();
        let more = found.len().saturating_sub(LISTED);
        found.truncate(LISTED);
        if more > 0 {
            found.push(format!("and {more} more"));
        }
        (!found.is_empty()).then(|| found.join("; "))
    }

    fn check_pair(&mut self, one: &Name, two: &Name, address: IpAddr) {
        let (Some(one), Some(two)) = (self.service(one), self.service(two)) else { return };
        let Some((reason, why)) = disagreement(&one.claim, &two.claim) else { return };
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

/// Why two Services should not have one address: the reason of the event, and a sentence.
fn disagreement(one: &Claim, two: &Claim) -> Option<(&'static str, String)> {
    let conflict = one.conflict(two)?;
    Some(match conflict {
        Conflict::Key if is_duplicate(one, two) => {
            (reason::DUPLICATE_ADDRESS, "neither has the right to share it: the older Service keeps it".to_owned())
        }
        Conflict::Key => {
            let why = "their annotations purelb.io/allow-shared-ip no longer agree; nobody is moved";
            (reason::SHARING_CONFLICT, why.to_owned())
        }
        Conflict::Port(port) => {
            let why = format!("both want port {port}; nobody is moved, but only one gets the traffic");
            (reason::SHARING_CONFLICT, why)
        }
    })
}

/// Whether two claims on one address can only be a mistake: neither Service asks to share.
const fn is_duplicate(one: &Claim, two: &Claim) -> bool {
    one.key.is_none() && two.key.is_none()
}
