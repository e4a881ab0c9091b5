//! A Service, reduced to what the allocator uses: a few hundred bytes each.

mod decode;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::names::condition::SHARING_CONFLICT;
use api_types::{Announce, Family, SharingKey};
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;

pub use decode::Watched;

use crate::pool::Claim;

/// Namespace and name of a Service; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<(Box<str>, Box<str>)>);

impl Name {
    /// From its two parts.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(Arc::new((namespace.into(), name.into())))
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.0
    }

    /// The name in its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name())
    }
}

/// Whether the Service is one to serve (specification, allocation.md 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To be served.
    Ours,
    /// Of another class, which it names: leave it alone but for marks of ours.
    OtherClass,
    /// Without class while we are not the default, or a reserved name: leave it alone.
    Ignored,
}

/// `spec.ipFamilyPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyPolicy {
    /// `SingleStack` and `RequireDualStack`: every family of the list, or nothing.
    All,
    /// `PreferDualStack`: what can be had.
    Prefer,
}

/// What the user asks for by annotations and fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    /// The annotation `purelb.io/service-group`.
    pub groups: Option<Box<str>>,
    /// The annotation `purelb.io/addresses`.
    pub addresses: Option<Box<str>>,
    /// `spec.loadBalancerIP`, unless it is empty.
    pub load_balancer_ip: Option<Box<str>>,
    /// The annotation `purelb.io/multi-pool`: on, off, or what the group says.
    pub multi_pool: Option<bool>,
    /// The annotation `purelb.io/re-evaluate` is `true`.
    pub re_evaluate: bool,
}

/// What we have written into the Service's annotations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is an annotation of its own")]
pub struct Marks {
    /// `allocated-by` names us.
    pub allocated: bool,
    /// `allocated-from`.
    pub groups: Option<Box<str>>,
    /// `pool-type`.
    pub pool_type: Option<Announce>,
    /// `skip-ipv6-dad` is there.
    pub skip_dad: bool,
    /// Any of the annotations that only we write is there.
    pub any: bool,
    /// The mark by which a new leader voids writes of the one before is there.
    pub fence: bool,
}

/// A Service of type `LoadBalancer`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Namespace and name.
    pub name: Name,
    /// The UID of the object.
    pub uid: Box<str>,
    /// The resource version of this state of the object.
    pub version: Box<str>,
    /// When it was created, in seconds since the epoch.
    pub created: i64,
    /// Whether it is one to serve.
    pub scope: Scope,
    /// Whether it has a cluster IP yet, or at all.
    pub has_cluster_ip: bool,
    /// `spec.ipFamilies`, in order.
    pub families: Vec<Family>,
    /// `spec.ipFamilyPolicy`.
    pub policy: FamilyPolicy,
    /// What it says about sharing.
    pub claim: Claim,
    /// What the user asks for.
    pub wishes: Wishes,
    /// What we have written.
    pub marks: Marks,
    /// The addresses in its status, in order, each once.
    pub addresses: Vec<IpAddr>,
    /// Entries of its status without an address, kept as they are.
    pub other_ingress: Vec<Value>,
    /// The conditions of its status; all but one kind are others', and are kept as they are.
    pub conditions: Vec<Value>,
}

/// A Service that is not of type `LoadBalancer` any more, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Namespace and name.
    pub name: Name,
    /// The UID of the object.
    pub uid: Box<str>,
    /// The resource version of the state that was seen.
    pub version: Box<str>,
    /// `allocated-from` as it was then: where its addresses are to be given back.
    pub groups: Option<Box<str>>,
    /// The conditions that it should have, if one of ours is on it.
    pub conditions: Option<Vec<Value>>,
}

/// The conditions without ours.
pub(crate) fn of_others(conditions: &[Value]) -> Vec<Value> {
    conditions.iter().filter(|condition| !is_ours(condition)).cloned().collect()
}

/// Whether we write this condition.
pub(crate) fn is_ours(condition: &Value) -> bool {
    condition.get("type").is_some_and(|kind| kind == SHARING_CONFLICT)
}

impl Leftover {
    /// The groups that its addresses came from.
    pub fn marked_groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|groups| groups.split(", "))
    }
}

impl Service {
    /// The sharing key.
    #[must_use]
    pub const fn key(&self) -> Option<&SharingKey> {
        self.claim.key.as_ref()
    }

    /// The group of one of its addresses, as it was written when the address was given.
    #[must_use]
    pub fn marked_group(&self, address: IpAddr) -> Option<&str> {
        let written = self.marks.groups.as_deref()?;
        let place = self.addresses.iter().position(|held| *held == address)?;
        // One name stands for all addresses.
        if written.contains(", ") { written.split(", ").nth(place) } else { Some(written) }
    }

    /// Whether this is a later state of the object than the one of that resource version.
    #[must_use]
    pub fn is_newer_than(&self, version: &str) -> bool {
        match (self.version.parse::<u64>(), version.parse::<u64>()) {
            (Ok(ours), Ok(theirs)) => ours > theirs,
            // Versions that are no numbers have no order: what comes last counts.
            _ => *self.version != *version,
        }
    }

    /// Which of two Services came first: by creation, then by UID.
    #[must_use]
    pub fn seniority(&self) -> (i64, &str) {
        (self.created, &self.uid)
    }

    /// How events refer to it.
    #[must_use]
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            namespace: Some(self.name.namespace().to_owned()),
            name: Some(self.name.name().to_owned()),
            uid: Some(self.uid.clone().into()),
            ..ObjectReference::default()
        }
    }
}
