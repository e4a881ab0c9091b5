//! Who wrote a Service, by its managed fields.
//!
//! The managed fields of an object are often larger than all the rest of it. They are reduced while they are read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::FIELD_MANAGER;

/// The field managers of the agents, whose writes are none of somebody else.
const AGENTS: &str = "purelb-lbnodeagent";

/// Who wrote a Service, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Writers {
    /// The allocator wrote the addresses in the status last, in this or another release.
    pub status_by_us: bool,
    /// Who else wrote last: the addresses in the status if that is known, else anything.
    pub other: Option<Box<str>>,
    /// Who wrote `spec.loadBalancerIP` last, if that is known.
    pub load_balancer_ip: Option<Box<str>>,
    /// When the allocator wrote the Service last, in seconds since the epoch.
    pub our_write: Option<i64>,
}

impl Writers {
    /// The name of the writer for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.other.as_deref().map_or_else(|| "another program".to_owned(), |name| format!("{name:?}"))
    }

    /// Reads the managed fields.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let is_others = |entry: &&Entry| ![FIELD_MANAGER, AGENTS].contains(&entry.manager.as_str());
        let latest = |entries: &mut dyn Iterator<Item = &Entry>| entries.max_by_key(|entry| entry.seconds()).cloned();
        let of_status = latest(&mut entries.iter().filter(|entry| entry.owns_ingress()));
        let other = of_status.clone().filter(|entry| is_others(&entry));
        let other = other.or_else(|| latest(&mut entries.iter().filter(is_others)));
        Self {
            status_by_us: of_status.is_some_and(|entry| entry.manager == FIELD_MANAGER),
            other: other.map(|entry| entry.manager.into()),
            load_balancer_ip: latest(&mut entries.iter().filter(|entry| entry.owns_load_balancer_ip()))
                .map(|entry| entry.manager.into()),
            our_write: entries.iter().filter(|entry| entry.manager == FIELD_MANAGER).map(Entry::seconds).max(),
        }
    }
}

/// One manager's entry, with the only fields that matter.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    time: Option<Time>,
    #[serde(default)]
    fields_v1: Option<Fields>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Fields {
    #[serde(default, rename = "f:status")]
    status: Option<StatusFields>,
    #[serde(default, rename = "f:spec")]
    spec: Option<SpecFields>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SpecFields {
    #[serde(default, rename = "f:loadBalancerIP")]
    load_balancer_ip: Option<IgnoredAny>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct StatusFields {
    #[serde(default, rename = "f:loadBalancer")]
    load_balancer: Option<LoadBalancerFields>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct LoadBalancerFields {
    #[serde(default, rename = "f:ingress")]
    ingress: Option<IgnoredAny>,
}

impl Entry {
    /// The manager owns the list of addresses. Whoever writes a list takes it from all other managers.
    fn owns_ingress(&self) -> bool {
        let status = self.fields_v1.as_ref().and_then(|fields| fields.status.as_ref());
        status.and_then(|status| status.load_balancer.as_ref()).is_some_and(|fields| fields.ingress.is_some())
    }

    fn owns_load_balancer_ip(&self) -> bool {
        let spec = self.fields_v1.as_ref().and_then(|fields| fields.spec.as_ref());
        spec.is_some_and(|spec| spec.load_balancer_ip.is_some())
    }

    fn seconds(&self) -> i64 {
        self.time.as_ref().map_or(i64::MIN, |time| time.0.as_second())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn writers(entries: Value) -> Writers {
        Writers::of(&serde_json::from_value::<Vec<Entry>>(entries).unwrap())
    }

    fn entry(manager: &str, second: u8, fields: &Value) -> Value {
        json!({"manager": manager, "operation": "Update", "subresource": "status", "fieldsV1": fields,
            "time": format!("2026-01-01T00:00:{second:02}Z")})
    }

    #[test]
    fn the_owner_of_the_addresses_wrote_them_last() {
        let (ingress, annotations) =
            (json!({"f:status": {"f:loadBalancer": {"f:ingress": {}}}}), json!({"f:metadata": {"f:annotations": {}}}));
        let foreign = writers(json!([
            entry(FIELD_MANAGER, 1, &annotations),
            entry("kubectl-patch", 2, &ingress),
            entry("helm", 3, &annotations)
        ]));
        assert!(!foreign.status_by_us);
        assert_eq!((foreign.other.as_deref(), foreign.our_write.is_some()), (Some("kubectl-patch"), true));
        let ours = writers(json!([entry("helm", 3, &annotations), entry(FIELD_MANAGER, 1, &ingress)]));
        assert!(ours.status_by_us);
        // Who emptied a list owns nothing of it: the latest other writer is the best guess.
        let emptied = writers(json!([entry(FIELD_MANAGER, 1, &annotations), entry("helm", 3, &annotations)]));
        assert_eq!((emptied.status_by_us, emptied.name()), (false, "\"helm\"".to_owned()));
        assert_eq!(writers(json!([entry(AGENTS, 3, &annotations)])).name(), "another program");
    }
}
