//! The writes to Services: merge patches of the status subresource.
//!
//! Each names the UID and the resource version that it was made for, so that it fails if the Service has changed.

use api_types::names::annotation;
use serde_json::{Map, Value, json};

use super::services::WriteId;
use crate::model::{Leftover, Service, ServiceName};
use crate::plan::{AllocationAnnotations, AnnotationChange, Plan};

/// What a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Addresses, annotations and conditions, as planned.
    Assign,
    /// A new resource version, so that a late write of the predecessor fails.
    Fence,
    /// A mark on a Service that is about to get an address and does not show it otherwise, so that the next leader
    /// fences it.
    Mark,
    /// Our annotations and conditions off a Service that is no longer served. Nothing waits for the outcome.
    CleanUp,
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
    /// The resource version that the write was made for.
    #[must_use]
    pub fn version(&self) -> &str {
        self.body.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The write that carries out a plan. `conditions` are all that the Service should have, if they are to change.
pub(super) fn assign(service: &Service, plan: &Plan, conditions: Option<Vec<Value>>) -> ServicePatch {
    let mut annotations = match &plan.annotations {
        AnnotationChange::Keep => Map::new(),
        AnnotationChange::Set(wanted) => allocation_annotations(wanted, !plan.addresses.is_empty()),
        AnnotationChange::RemoveAll => no_annotations(),
    };
    if plan.clear_re_evaluate {
        annotations.insert(annotation::RE_EVALUATE.to_owned(), Value::Null);
    }
    if service.written.leader_fence {
        annotations.insert(annotation::LEADER_FENCE.to_owned(), Value::Null);
    }
    // A merge patch replaces lists as a whole: the entries of others must be in them.
    let mut status = Map::new();
    if plan.addresses != service.addresses {
        let mut ingress = service.other_ingress.clone();
        ingress.extend(plan.addresses.iter().map(|address| json!({"ip": address, "ipMode": "VIP"})));
        status.insert("loadBalancer".to_owned(), json!({"ingress": ingress}));
    }
    if let Some(conditions) = conditions {
        status.insert("conditions".to_owned(), json!(conditions));
    }
    let metadata = json!({"uid": service.uid, "resourceVersion": service.version, "annotations": annotations});
    patch(&service.name, Purpose::Assign, metadata, status)
}

/// The write that changes nothing but the resource version, by the annotation `leader-fence`.
pub(super) fn fence(service: &Service, value: &str) -> ServicePatch {
    patch(&service.name, Purpose::Fence, fence_metadata(service, value), Map::new())
}

/// The write that marks a Service that is about to get an address, by the same annotation.
pub(super) fn mark(service: &Service, value: &str) -> ServicePatch {
    patch(&service.name, Purpose::Mark, fence_metadata(service, value), Map::new())
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

fn fence_metadata(service: &Service, value: &str) -> Value {
    let annotations = json!({annotation::LEADER_FENCE: value});
    json!({"uid": service.uid, "resourceVersion": service.version, "annotations": annotations})
}

fn allocation_annotations(wanted: &AllocationAnnotations, allocated: bool) -> Map<String, Value> {
    let by = if allocated { json!(annotation::ALLOCATED_BY_US) } else { Value::Null };
    let skip_ipv6_dad = if wanted.skip_ipv6_dad { json!("true") } else { Value::Null };
    Map::from_iter([
        (annotation::ALLOCATED_BY.to_owned(), by),
        (annotation::ALLOCATED_FROM.to_owned(), json!(wanted.groups)),
        (annotation::POOL_TYPE.to_owned(), json!(wanted.pool_type.map(api_types::Announce::pool_type))),
        (annotation::SKIP_IPV6_DAD.to_owned(), skip_ipv6_dad),
    ])
}

fn no_annotations() -> Map<String, Value> {
    annotation::WRITTEN.into_iter().map(|key| (key.to_owned(), Value::Null)).collect()
}
