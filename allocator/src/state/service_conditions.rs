//! The conditions that the allocator keeps on Services.
//!
//! There is one: `purelb.io/SharingConflict`, present as long as another Service uses an address without agreement.

use api_types::names::condition::SHARING_CONFLICT;
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

/// All conditions that the Service should have, those of others included; `None` if it has them.
pub(super) fn service_conditions(
    services: &Services,
    addresses: &AddressTable,
    service: &Service,
    time: Timestamp,
) -> Option<Vec<Value>> {
    let message = match service.scope {
        Scope::Ignored => return None,
        Scope::OtherClass => None,
        Scope::Ours => conflicts(services, addresses, service),
    };
    let known = service.conditions.iter().find(|condition| is_our_condition(condition));
    let known_message = known.and_then(|condition| condition.get("message")?.as_str());
    if known_message == message.as_deref() {
        return None;
    }
    let mut conditions = without_our_conditions(&service.conditions);
    if let Some(message) = message {
        let since = known.and_then(|condition| condition.get("lastTransitionTime")).cloned();
        conditions.push(json!({
            "type": SHARING_CONFLICT, "status": "True", "reason": reason::SHARING_CONFLICT, "message": message,
            "lastTransitionTime": since.unwrap_or_else(|| json!(whole_seconds(time).to_string())),
        }));
    }
    Some(conditions)
}

/// Which other Services use which address of the Service without agreement, and why.
fn conflicts(services: &Services, addresses: &AddressTable, service: &Service) -> Option<String> {
    let mut found = Vec::new();
    for &address in &service.addresses {
        for other in addresses.holders(address).iter().filter(|holder| **holder != service.name) {
            let Some(other) = services.get(other).filter(|other| other.addresses.contains(&address)) else {
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
