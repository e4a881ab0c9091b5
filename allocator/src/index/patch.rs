//! The one write to a Service: a merge patch of its status subresource.

use api_types::names::annotation;
use serde_json::{Map, Value, json};

use crate::judge::{Target, Verdict};
use crate::service::{Leftover, Name, Service};

/// What a patch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Addresses and annotations.
    Assign,
    /// A new resource version, so that an older write fails.
    Fence,
    /// Our annotations off a Service that is not ours any more. Nobody waits for the outcome.
    Clean,
}

/// A write to send.
#[derive(Debug, Clone, PartialEq)]
pub struct ServicePatch {
    /// Unlike that of any other patch of this index; an answer names it.
    pub id: u64,
    /// The Service.
    pub name: Name,
    /// What it is for.
    pub task: Task,
    /// A merge patch for the status subresource.
    pub body: Value,
}

impl ServicePatch {
    /// The resource version that it was made for.
    #[must_use]
    pub fn version(&self) -> &str {
        self.body.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The patch that makes a verdict true; only for the very state of the Service that was judged.
/// `conditions` are those that the Service should have, if they are not those that it has.
pub(super) fn assign(service: &Service, verdict: &Verdict, conditions: Option<Vec<Value>>) -> ServicePatch {
    let mut annotations = Map::new();
    if verdict.clean {
        annotations = written();
    } else if let Some(target) = &verdict.target {
        annotations = marks(target, !verdict.addresses.is_empty());
    }
    if verdict.clear_re_evaluate {
        annotations.insert(annotation::RE_EVALUATE.to_owned(), Value::Null);
    }
    if service.marks.fence {
        annotations.insert(annotation::LEADER_FENCE.to_owned(), Value::Null);
    }
    let mut body =
        json!({"metadata": {"uid": service.uid, "resourceVersion": service.version, "annotations": annotations}});
    // A merge patch replaces lists as a whole: entries of others must be in them.
    let mut status = Map::new();
    if verdict.addresses != service.addresses {
        let mut ingress = service.other_ingress.clone();
        ingress.extend(verdict.addresses.iter().map(|address| json!({"ip": address, "ipMode": "VIP"})));
        status.insert("loadBalancer".to_owned(), json!({"ingress": ingress}));
    }
    if let Some(conditions) = conditions {
        status.insert("conditions".to_owned(), json!(conditions));
    }
    if !status.is_empty()
        && let Some(body) = body.as_object_mut()
    {
        body.insert("status".to_owned(), Value::Object(status));
    }
    ServicePatch { id: 0, name: service.name.clone(), task: Task::Assign, body }
}

fn marks(target: &Target, allocated: bool) -> Map<String, Value> {
    let by = if allocated { json!(annotation::ALLOCATED_BY_US) } else { Value::Null };
    let skip_dad = if target.skip_dad { json!("true") } else { Value::Null };
    Map::from_iter([
        (annotation::ALLOCATED_BY.to_owned(), by),
        (annotation::ALLOCATED_FROM.to_owned(), json!(target.groups)),
        (annotation::POOL_TYPE.to_owned(), json!(target.pool_type.map(api_types::Announce::pool_type))),
        (annotation::SKIP_IPV6_DAD.to_owned(), skip_dad),
    ])
}

fn written() -> Map<String, Value> {
    annotation::WRITTEN.into_iter().map(|key| (key.to_owned(), Value::Null)).collect()
}

/// A patch that changes nothing but the resource version.
pub(super) fn fence(service: &Service, value: &str) -> ServicePatch {
    let metadata = json!({"uid": service.uid, "resourceVersion": service.version, "annotations": {annotation::LEADER_FENCE: value}});
    ServicePatch { id: 0, name: service.name.clone(), task: Task::Fence, body: json!({"metadata": metadata}) }
}

/// A patch that takes our annotations off an object, as long as nobody has changed it.
#[must_use]
pub fn clean(leftover: &Leftover) -> ServicePatch {
    let metadata = json!({"uid": leftover.uid, "resourceVersion": leftover.version, "annotations": written()});
    let mut body = json!({"metadata": metadata});
    if let (Some(conditions), Some(body)) = (&leftover.conditions, body.as_object_mut()) {
        body.insert("status".to_owned(), json!({"conditions": conditions}));
    }
    ServicePatch { id: 0, name: leftover.name.clone(), task: Task::Clean, body }
}
