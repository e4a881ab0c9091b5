//! Services with addresses of groups that are gone.
//!
//! They are told once, and have the condition `GroupDeleted` until the group is there again, another group has the range,
//! or they move. There can be thousands of them: the conditions are written at the rate of marks.

use std::collections::BTreeSet;

use api_types::names::reason;
use serde_json::Value;
use tracing::warn;

use super::condition::join_first;
use super::index::Index;
use super::service_conditions::stored_message;
use crate::model::{GroupId, Scope, Service, ServiceName};
use crate::plan::Notice;

/// The most Services that are told one by one.
const MOST_TOLD: usize = 50;
/// The most groups that a message names.
const LISTED: usize = 5;

const ADVICE: &str = "stay as they are, and nobody else gets them unless another group has their range; create the group again, or set purelb.io/re-evaluate: \"true\" on the Service to move it";

impl Index {
    /// Tells the Services with addresses of a group that is gone; if there are many, the group alone.
    pub(super) fn report_gone(&mut self, id: &GroupId) {
        if !self.groups.is_missing(&id.1) {
            // It was one of several of this name, and not the one in use.
            return;
        }
        let of_group = |service: &&Service| {
            service.scope == Scope::Ours
                && service.claimed().iter().any(|&address| service.written_group(address) == Some(id.1.as_str()))
        };
        let services: Vec<ServiceName> =
            self.services.iter().filter(of_group).map(|service| service.name.clone()).collect();
        if services.is_empty() {
            return;
        }
        let (count, name) = (services.len(), &id.1);
        warn!(op = "group", name, services = count, "a group whose addresses Services have was deleted");
        if count > MOST_TOLD {
            let text =
                format!("The group was deleted while {count} Services have addresses of it: the addresses {ADVICE}");
            return self.publish(self.groups.reference(id), Notice::warning(reason::CONFIGURATION_WARNING, text));
        }
        for service in services {
            let Some(reference) = self.services.get(&service).map(Service::reference) else { continue };
            let text = format!("ServiceGroup {name:?} was deleted: its addresses {ADVICE}");
            self.publish(reference, Notice::warning(reason::CONFIGURATION_WARNING, text));
        }
    }

    /// The message of the condition `GroupDeleted` of a Service, if it should have that.
    pub(super) fn missing_groups(&self, service: &Service) -> Option<String> {
        let has_group = |address| self.groups.table().group_of(address).is_some();
        let homeless = service.claimed().iter().copied().filter(|address| !has_group(*address));
        let names: BTreeSet<&str> = homeless.filter_map(|address| service.written_group(address)).collect();
        let missing: Vec<String> =
            names.into_iter().filter(|name| self.groups.is_missing(name)).map(|name| format!("{name:?}")).collect();
        (!missing.is_empty()).then(|| {
            let names = join_first(missing, LISTED, ", ");
            format!("no ServiceGroup {names} exists any more: its addresses {ADVICE}")
        })
    }

    /// Whether the condition `GroupDeleted` of a Service is to be written or removed.
    pub(super) fn is_group_condition_due(&self, service: &Service) -> bool {
        let stored = stored_message(service, api_types::names::condition::GROUP_DELETED);
        service.scope == Scope::Ours && stored.and_then(Value::as_str) != self.missing_groups(service).as_deref()
    }
}
