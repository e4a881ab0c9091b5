//! What planning works with, and what it results in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::Announce;
use ipnetwork::IpNetwork;
use runtime::BootTime;
use runtime::events::Kind;

use crate::addresses::{AddressTable, FreedAddresses};
use crate::external::{AddressRequest, ExternalAllocations};
use crate::model::{GroupTable, HeldAddresses, NamespaceBindings, Service, ServiceName};

/// The state by which a Service is planned.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The groups.
    pub groups: &'a GroupTable,
    /// The namespaces that the groups serve.
    pub bindings: &'a NamespaceBindings,
    /// Who holds which address, the planned Service included.
    pub addresses: &'a AddressTable,
    /// The subnets of the nodes that are alive.
    pub node_subnets: &'a BTreeSet<IpNetwork>,
    /// What sidecars have answered.
    pub external: &'a ExternalAllocations,
    /// What the agents' kernels have.
    pub held: &'a HeldAddresses,
    /// Whether every agent that is alive has told all that its kernel has. Before that, silence says nothing.
    pub heard_all: bool,
    /// Which addresses were freed a short time ago.
    pub freed: &'a FreedAddresses,
    /// The time.
    pub now: BootTime,
}

/// A Kubernetes event to publish about the Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How urgent it is.
    pub kind: Kind,
    /// A constant of `api_types::names::reason`.
    pub reason: &'static str,
    /// The sentence for people.
    pub text: String,
}

impl Notice {
    /// A notice about something that works.
    #[must_use]
    pub const fn normal(reason: &'static str, text: String) -> Self {
        Self { kind: Kind::Normal, reason, text }
    }

    /// A notice about something that needs attention.
    #[must_use]
    pub const fn warning(reason: &'static str, text: String) -> Self {
        Self { kind: Kind::Warning, reason, text }
    }
}

/// Something to count in a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measurement {
    /// An address was refused: pool and reason.
    Rejected(String, &'static str),
    /// A multi-pool allocation from this pool.
    MultiPool(String),
    /// A multi-pool allocation in which an active range of this pool had no free address.
    MultiPoolPartial(String),
    /// An allocation from the least used range of this pool.
    Balanced(String),
}

/// Addresses that a sidecar gave and that the Service cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The group.
    pub group: String,
    /// The addresses; there may be none.
    pub addresses: Vec<IpAddr>,
    /// Why the whole answer is void. `None` if the rest of it is used.
    pub why: Option<String>,
}

/// The annotations that describe the addresses of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllocationAnnotations {
    /// `allocated-from`.
    pub groups: Option<String>,
    /// `pool-type`.
    pub pool_type: Option<Announce>,
    /// `skip-ipv6-dad`.
    pub skip_ipv6_dad: bool,
}

/// What happens to the annotations that only the allocator writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AnnotationChange {
    /// They stay as they are.
    #[default]
    Keep,
    /// They become these.
    Set(AllocationAnnotations),
    /// They are all removed: the Service belongs to another class now.
    RemoveAll,
}

/// What should become of a Service.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct Plan {
    /// The addresses that we give it, in order.
    pub addresses: Vec<IpAddr>,
    /// The addresses to write to its status, if that is to change.
    pub ingress: Option<Vec<IpAddr>>,
    /// It has been given these addresses before. Whatever is to be written only puts back what somebody else took.
    pub restores: bool,
    /// Nothing is to be written but the marks of addresses that it has.
    pub only_marks: bool,
    /// What happens to its annotations.
    pub annotations: AnnotationChange,
    /// Whether to remove the annotation `re-evaluate`.
    pub clear_re_evaluate: bool,
    /// Kubernetes events to publish when the change is written.
    pub notices: Vec<Notice>,
    /// Why the Service does not have all that it requests. It is planned again when something changes.
    pub problem: Option<Notice>,
    /// The group without a free address for it.
    pub exhausted: Option<String>,
    /// The Service that is in the way. The problem names it only if it is of the same namespace; the log always does.
    pub holder: Option<ServiceName>,
    /// What to report once, although nothing is to be done about it.
    pub remarks: Vec<Notice>,
    /// The Service would take more addresses if there were more. It is planned again when something changes, although
    /// nothing is wrong.
    pub wants_more: bool,
    /// What to count.
    pub measurements: Vec<Measurement>,
    /// What it requests of external groups.
    pub requests: Vec<(String, AddressRequest)>,
    /// What it rejects of their answers.
    pub rejections: Vec<Rejection>,
}

impl Plan {
    /// The plan that leaves the Service as it is.
    #[must_use]
    pub fn unchanged(service: &Service) -> Self {
        Self { addresses: service.claimed().to_vec(), restores: true, ..Self::default() }
    }

    /// Whether anything is to be written.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.annotations != AnnotationChange::Keep || self.clear_re_evaluate || self.ingress.is_some()
    }
}
