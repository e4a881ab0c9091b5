//! The conditions that the allocator keeps on Services.
//!
//! | Type | Present as long as |
//! |---|---|
//! | `purelb.io/SharingConflict` | another Service uses an address without agreement |
//! | `purelb.io/Overwritten` | somebody takes off what the allocator writes, faster than it is put back |

use api_types::names::condition::{OVERWRITTEN, SHARING_CONFLICT};
use api_types::names::reason;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::condition::{join_first, whole_seconds};
use super::services::Services;
use super::sharing::disagreement;
use crate::addresses::AddressTable;
use crate::model::{Scope, Service, is_our_condition, without_our_conditions};

/// The most conflicts that a message lists.
const LISTED: usize = 5;

/// A condition that holds.
struct Held {
    kind: &'static str,
    reason: &'static str,
    message: String,
}

/// All conditions that the Service should have, those of others included; `None` if it has them. `overwritten` is the
/// message of the condition `Overwritten` if that holds.
pub(super) fn service_conditions(
    services: &Services,
    addresses: &AddressTable,
    service: &Service,
    overwritten: Option<&str>,
    time: Timestamp,
) -> Option<Vec<Value>> {
    let mut wanted = Vec::new();
    match service.scope {
        Scope::Ignored | Scope::NoClass => return None,
        Scope::Ours if !service.deleting => {
            if let Some(message) = conflicts(services, addresses, service) {
                wanted.push(Held { kind: SHARING_CONFLICT, reason: reason::SHARING_CONFLICT, message });
            }
            if let Some(message) = overwritten {
                wanted.push(Held { kind: OVERWRITTEN, reason: "Overwritten", message: message.to_owned() });
            }
        }
        Scope::Ours | Scope::OtherClass | Scope::Released => {}
    }
    let known: Vec<&Value> = service.conditions.iter().filter(|condition| is_our_condition(condition)).collect();
    let text = |condition: &Value, field: &str| condition.get(field).and_then(Value::as_str).map(str::to_owned);
    let of_kind = |kind: &str| known.iter().find(|known| text(known, "type").as_deref() == Some(kind));
    let is_known =
        |held: &Held| of_kind(held.kind).is_some_and(|known| text(known, "message").as_deref() == Some(&held.message));
    if known.len() == wanted.len() && wanted.iter().all(is_known) {
        return None;
    }
    let mut conditions = without_our_conditions(&service.conditions);
    for Held { kind, reason, message } in wanted {
        let since = of_kind(kind).and_then(|known| text(known, "lastTransitionTime"));
        conditions.push(json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| whole_seconds(time).to_string()),
        }));
    }
    Some(conditions)
}

/// Which other Services use which address of the Service without agreement, and why.
fn conflicts(services: &Services, addresses: &AddressTable, service: &Service) -> Option<String> {
    let mut found = Vec::new();
    for &address in service.claimed() {
        for other in addresses.holders(address).iter().filter(|holder| **holder != service.name) {
            let Some(other) = services.get(other).filter(|other| other.claimed().contains(&address)) else {
                continue;
            };
            if let Some((reason::SHARING_CONFLICT, why)) = disagreement(&service.sharing, &other.sharing) {
                found.push(format!("{address} is also in use by {}: {why}", other.name));
            }
        }
    }
    // Holders come in the order in which they became known. The message must not depend on it.
    found.sort();
    (!found.is_empty()).then(|| join_first(found, LISTED, "; "))
}
