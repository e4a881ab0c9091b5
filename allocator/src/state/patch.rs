//! The writes to Services: merge patches of the status subresource.
//!
//! Each names the UID and the resource version that it was made for, so that it fails if the Service has changed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::names::annotation;
use api_types::provenance::addresses_value;
use serde_json::{Map, Value, json};

use super::services::WriteId;
use crate::model::{Leftover, Service, ServiceName};
use crate::plan::{AllocationAnnotations, AnnotationChange, Plan};

/// What a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Addresses, annotations and conditions, as planned.
    Assign,
    /// The same, where it only puts back what somebody else took.
    Repair,
    /// A new resource version, so that a late write of the predecessor fails.
    Fence,
    /// A mark on a Service that is about to get an address and does not show it otherwise, so that the next leader
    /// fences it.
    Mark,
    /// Our annotations and conditions off a Service that is no longer served. Nothing waits for the outcome.
    CleanUp,
}

/// The marks for the next leader that a write leaves in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeptMarks {
    /// `leader-fence`.
    pub(super) fence: bool,
    /// `asked-of`.
    pub(super) asked: bool,
}

/// A write to send.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePatch {
    /// The reservation that ends with the outcome; clean-ups have none.
    pub id: Option<WriteId>,
    /// The Service.
    pub name: ServiceName,
    /// What the write is for.
    pub purpose: Purpose,
    /// A merge patch for the status subresource.
    pub body: Value,
}

impl ServicePatch {
    /// With another annotation.
    #[must_use]
    pub(super) fn annotated(mut self, key: &str, value: Value) -> Self {
        if let Some(Value::Object(annotations)) = self.body.pointer_mut("/metadata/annotations") {
            annotations.insert(key.to_owned(), value);
        }
        self
    }

    /// The resource version that the write was made for.
    #[must_use]
    pub fn version(&self) -> &str {
        self.body.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The write that carries out a plan. `conditions` are all that the Service should have, if they are to change.
/// `keep` are the marks that stay in place.
pub(super) fn assign(service: &Service, plan: &Plan, conditions: Option<Vec<Value>>, keep: KeptMarks) -> ServicePatch {
    let mut annotations = match &plan.annotations {
        AnnotationChange::Keep => Map::new(),
        AnnotationChange::Set(wanted) => allocation_annotations(wanted, service, &plan.addresses),
        AnnotationChange::RemoveAll => no_annotations(),
    };
    if plan.clear_re_evaluate {
        annotations.insert(annotation::RE_EVALUATE.to_owned(), Value::Null);
    }
    if service.written.leader_fence && !keep.fence {
        annotations.insert(annotation::LEADER_FENCE.to_owned(), Value::Null);
    }
    if service.written.asked_of.is_some() && !keep.asked {
        annotations.insert(annotation::ASKED_OF.to_owned(), Value::Null);
    }
    // A merge patch replaces lists as a whole: the entries of others must be in them.
    let mut status = Map::new();
    if let Some(addresses) = &plan.ingress {
        let mut ingress = service.other_ingress.clone();
        ingress.extend(addresses.iter().map(|address| ingress_entry(service, *address)));
        status.insert("loadBalancer".to_owned(), json!({"ingress": ingress}));
    }
    if let Some(conditions) = conditions {
        status.insert("conditions".to_owned(), json!(conditions));
    }
    let metadata = json!({"uid": service.uid, "resourceVersion": service.version, "annotations": annotations});
    let purpose = if plan.restores { Purpose::Repair } else { Purpose::Assign };
    patch(&service.name, purpose, metadata, status)
}

/// An address in the status. What others have added to its entry stays, but for the mode.
fn ingress_entry(service: &Service, address: IpAddr) -> Value {
    let known = service.detailed_ingress.iter().find(|(detailed, _)| *detailed == address);
    let mut entry = known.and_then(|(_, entry)| entry.as_object().cloned()).unwrap_or_default();
    entry.insert("ip".to_owned(), json!(address));
    entry.insert("ipMode".to_owned(), json!("VIP"));
    Value::Object(entry)
}

/// The write that changes nothing but the resource version, by the annotation `leader-fence`.
pub(super) fn fence(service: &Service, value: &str) -> ServicePatch {
    let mark = Map::from_iter([(annotation::LEADER_FENCE.to_owned(), json!(value))]);
    patch(&service.name, Purpose::Fence, marks_metadata(service, &mark), Map::new())
}

/// The write that marks a Service that is about to get an address, by the same annotation, and by the groups whose
/// sidecars are about to be asked.
pub(super) fn mark(service: &Service, value: &str, groups: &BTreeSet<&str>) -> ServicePatch {
    let groups: Vec<&str> = groups.iter().copied().collect();
    let asked = (!groups.is_empty()).then(|| (annotation::ASKED_OF.to_owned(), json!(groups.join(", "))));
    let marks = [(annotation::LEADER_FENCE.to_owned(), json!(value))].into_iter().chain(asked);
    patch(&service.name, Purpose::Mark, marks_metadata(service, &marks.collect()), Map::new())
}

/// The write that takes our annotations and conditions off an object.
#[must_use]
pub fn clean_up(leftover: &Leftover) -> ServicePatch {
    let metadata = json!({"uid": leftover.uid, "resourceVersion": leftover.version, "annotations": no_annotations()});
    let conditions = leftover.conditions.as_ref().map(|conditions| ("conditions".to_owned(), json!(conditions)));
    patch(&leftover.name, Purpose::CleanUp, metadata, conditions.into_iter().collect())
}

fn patch(name: &ServiceName, purpose: Purpose, metadata: Value, status: Map<String, Value>) -> ServicePatch {
    let mut body = Map::from_iter([("metadata".to_owned(), metadata)]);
    if !status.is_empty() {
        body.insert("status".to_owned(), Value::Object(status));
    }
    ServicePatch { id: None, name: name.clone(), purpose, body: Value::Object(body) }
}

fn marks_metadata(service: &Service, annotations: &Map<String, Value>) -> Value {
    json!({"uid": service.uid, "resourceVersion": service.version, "annotations": annotations})
}

fn allocation_annotations(
    wanted: &AllocationAnnotations,
    service: &Service,
    addresses: &[IpAddr],
) -> Map<String, Value> {
    let if_any = |value: Value| if addresses.is_empty() { Value::Null } else { value };
    let skip_ipv6_dad = if wanted.skip_ipv6_dad { json!("true") } else { Value::Null };
    Map::from_iter([
        (annotation::ALLOCATED_BY.to_owned(), if_any(json!(annotation::ALLOCATED_BY_US))),
        (annotation::ALLOCATED_ADDRESSES.to_owned(), if_any(json!(addresses_value(addresses)))),
        (annotation::ALLOCATED_TO.to_owned(), if_any(json!(service.uid))),
        (annotation::ALLOCATED_FROM.to_owned(), json!(wanted.groups)),
        (annotation::POOL_TYPE.to_owned(), json!(wanted.pool_type.map(api_types::Announce::pool_type))),
        (annotation::SKIP_IPV6_DAD.to_owned(), skip_ipv6_dad),
    ])
}

fn no_annotations() -> Map<String, Value> {
    annotation::WRITTEN.into_iter().map(|key| (key.to_owned(), Value::Null)).collect()
}
