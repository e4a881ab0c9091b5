//! The conditions that the allocator keeps on Services.
//!
//! | Type | Present as long as |
//! |---|---|
//! | `purelb.io/SharingConflict` | another Service uses an address without agreement |
//! | `purelb.io/GroupDeleted` | the group of one of its addresses is gone |
//! | `purelb.io/NotAnnounced` | nobody announces one of its addresses |
//! | `purelb.io/Overwritten` | somebody takes off what the allocator writes, faster than it is put back |

use api_types::names::condition::{GROUP_DELETED, NOT_ANNOUNCED, OVERWRITTEN, SHARING_CONFLICT};
use api_types::names::reason;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::condition::{join_first, whole_seconds};
use super::services::Services;
use super::sharing::disagreement;
use super::unannounced::Wanted;
use crate::addresses::AddressTable;
use crate::model::{Scope, Service, is_our_condition, without_our_conditions};

/// The most conflicts that a message lists.
const LISTED: usize = 5;

/// A condition that holds.
struct Held {
    kind: &'static str,
    reason: String,
    message: String,
}

/// Conditions that other parts of the state keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<'a> {
    /// The message of `Overwritten`, if that holds.
    pub(super) overwritten: Option<&'a str>,
    /// The message of `GroupDeleted`, if that holds.
    pub(super) missing_groups: Option<&'a str>,
    /// What `NotAnnounced` should be.
    pub(super) not_announced: Wanted<'a>,
}

/// All conditions that the Service should have, those of others included; `None` if it has them.
pub(super) fn service_conditions(
    services: &Services,
    addresses: &AddressTable,
    service: &Service,
    kept: Kept<'_>,
    time: Timestamp,
) -> Option<Vec<Value>> {
    let known: Vec<&Value> = service.conditions.iter().filter(|condition| is_our_condition(condition)).collect();
    let mut wanted = Vec::new();
    match service.scope {
        Scope::Ignored | Scope::NoClass => return None,
        Scope::Ours if !service.deleting => {
            if let Some(message) = conflicts(services, addresses, service) {
                wanted.push(Held { kind: SHARING_CONFLICT, reason: reason::SHARING_CONFLICT.to_owned(), message });
            }
            if let Some(message) = kept.overwritten {
                wanted.push(Held { kind: OVERWRITTEN, reason: "Overwritten".to_owned(), message: message.to_owned() });
            }
            if let Some(message) = kept.missing_groups {
                let (reason, message) = ("GroupDeleted".to_owned(), message.to_owned());
                wanted.push(Held { kind: GROUP_DELETED, reason, message });
            }
            if let Some((reason, message)) = not_announced(service, kept.not_announced) {
                wanted.push(Held { kind: NOT_ANNOUNCED, reason, message });
            }
        }
        Scope::Ours | Scope::OtherClass | Scope::Released => {}
    }
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

/// Reason and message of `NotAnnounced`, if the Service should have it.
fn not_announced(service: &Service, wanted: Wanted<'_>) -> Option<(String, String)> {
    match wanted {
        Wanted::Unchanged => stored_not_announced(service),
        Wanted::Absent => None,
        Wanted::Present(reason, message) => Some((reason.to_owned(), message.to_owned())),
    }
}

/// Reason and message of the condition `NotAnnounced` that the object has.
pub(super) fn stored_not_announced(service: &Service) -> Option<(String, String)> {
    let text = |condition: &Value, field: &str| condition.get(field)?.as_str().map(str::to_owned);
    let stored = service.conditions.iter().find(|stored| text(stored, "type").as_deref() == Some(NOT_ANNOUNCED))?;
    Some((text(stored, "reason").unwrap_or_default(), text(stored, "message").unwrap_or_default()))
}

/// The message of a condition that the object has.
pub(super) fn stored_message<'a>(service: &'a Service, kind: &str) -> Option<&'a Value> {
    let stored = service.conditions.iter().find(|stored| stored.get("type").is_some_and(|stored| stored == kind));
    stored.and_then(|stored| stored.get("message"))
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
