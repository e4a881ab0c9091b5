//! A Kubernetes event before it is sent.

use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::core::Resource;

/// The type of an event in the Kubernetes API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something happened as planned.
    Normal,
    /// Somebody should look at it.
    Warning,
}

impl Kind {
    /// The spelling of the Kubernetes API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// A Kubernetes event before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The object that it is about; see [`reference`].
    pub object: ObjectReference,
    /// Its type.
    pub kind: Kind,
    /// Its reason: one word in `CamelCase`, from `api_types::names::reason`.
    pub reason: &'static str,
    /// A sentence for people. It is cut after 1,000 bytes.
    pub note: String,
}

impl Event {
    /// Events with the same key repeat each other.
    pub(super) fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.object.kind, &self.object.namespace, &self.object.name, &self.object.uid).hash(&mut hasher);
        (self.kind, self.reason, &self.note).hash(&mut hasher);
        hasher.finish()
    }
}

/// The reference to an object that an event contains.
#[must_use]
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}
