//! A Service as the allocator keeps it: a few hundred bytes.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::names::condition::OURS;
use api_types::provenance::Provenance;
use api_types::reserved::names_a_host;
use api_types::{Announce, Family, SharingKey};
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;

use super::managed_fields::Writers;
use super::sharing::Sharing;

/// How many external IPs of one namespace count. Anybody may write that field.
pub const MOST_EXTERNAL_IPS: usize = 16;

/// Namespace and name of a Service; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<(Box<str>, Box<str>)>);

impl ServiceName {
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

    /// The name within the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name())
    }
}

/// Whether the allocator serves the Service (specification, allocation.md 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The Service is served.
    Ours,
    /// The Service has no class, and its user has released it to other load balancers. What we gave it and our annotations
    /// are taken off once.
    Released,
    /// The Service names a class of another load balancer. Only annotations and conditions of ours are removed from it.
    OtherClass,
    /// The Service has no class while we are not the default. It is served if what it has counts as given by us, and
    /// never written otherwise.
    NoClass,
    /// Its name is reserved. Nothing but an event is ever written for it.
    Ignored,
}

/// `spec.ipFamilyPolicy`, as far as it matters for allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyPolicy {
    /// `SingleStack` and `RequireDualStack`: an address of every listed family, or none at all.
    All,
    /// `PreferDualStack`: an address of every family that has one.
    Prefer,
}

/// What the user requests by annotations and fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requested {
    /// The annotation `purelb.io/service-group`.
    pub groups: Option<Box<str>>,
    /// The annotation `purelb.io/addresses`.
    pub addresses: Option<Box<str>>,
    /// `spec.loadBalancerIP`, unless it is empty.
    pub load_balancer_ip: Option<Box<str>>,
    /// The annotation `purelb.io/multi-pool`. Without it the group decides.
    pub multi_pool: Option<bool>,
    /// The annotation `purelb.io/re-evaluate` is `true`.
    pub re_evaluate: bool,
    /// The annotation `purelb.io/release` is `true`. A Service of our class cannot be released.
    pub release: bool,
    /// `spec.sessionAffinity` is `ClientIP`.
    pub session_affinity: bool,
}

impl Requested {
    /// The addresses that the user names, as written. `spec.loadBalancerIP` names none if it is the unspecified address,
    /// which asks other load balancers for one by DHCP.
    #[must_use]
    pub fn pins(&self) -> Option<&str> {
        self.addresses.as_deref().or_else(|| self.load_balancer_ip.as_deref().filter(|text| !is_unspecified(text)))
    }

    /// Whether `spec.loadBalancerIP` is the unspecified address.
    #[must_use]
    pub fn has_unspecified_ip(&self) -> bool {
        self.load_balancer_ip.as_deref().is_some_and(is_unspecified)
    }
}

fn is_unspecified(text: &str) -> bool {
    text.trim().parse::<IpAddr>().is_ok_and(|address| address.is_unspecified())
}

/// The annotations on a Service that only the allocator writes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each stands for one annotation")]
pub struct WrittenAnnotations {
    /// `allocated-by` names us.
    pub by_us: bool,
    /// `allocated-from`.
    pub groups: Option<Box<str>>,
    /// `pool-type`.
    pub pool_type: Option<Announce>,
    /// `allocated-addresses` or `allocated-to` is present.
    pub list: bool,
    /// `skip-ipv6-dad` is present.
    pub skip_ipv6_dad: bool,
    /// `vip-ports`.
    pub vip_ports: Option<Box<str>>,
    /// At least one of the annotations that only we write is present.
    pub any: bool,
    /// `leader-fence` is present: a write that assigns an address may be in flight.
    pub leader_fence: bool,
    /// `asked-of`.
    pub asked_of: Option<Box<str>>,
}

impl WrittenAnnotations {
    /// The groups whose sidecars may have been asked without the Service showing it.
    pub fn asked_groups(&self) -> impl Iterator<Item = &str> {
        self.asked_of.iter().flat_map(|groups| groups.split(", "))
    }
}

/// A Service of type `LoadBalancer`.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Namespace and name.
    pub name: ServiceName,
    /// The UID of the object.
    pub uid: Box<str>,
    /// The resource version of this state of the object.
    pub version: Box<str>,
    /// When the object was created, in seconds since the epoch.
    pub created: i64,
    /// Whether the allocator serves it.
    pub scope: Scope,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it has a cluster IP.
    pub has_cluster_ip: bool,
    /// `spec.ipFamilies`, in order.
    pub families: Vec<Family>,
    /// `spec.ipFamilyPolicy`.
    pub policy: FamilyPolicy,
    /// Its sharing key and ports.
    pub sharing: Sharing,
    /// What the user requests.
    pub requested: Requested,
    /// The annotations that the allocator wrote.
    pub written: WrittenAnnotations,
    /// What its annotations say of addresses that we gave it.
    pub provenance: Provenance,
    /// What `announcing-*` says: addresses, and the nodes that announce them.
    pub announced: Vec<(IpAddr, Box<str>)>,
    /// Whether `spec.externalTrafficPolicy` is `Local`.
    pub local_policy: bool,
    /// Who wrote it.
    pub writers: Writers,
    /// The addresses in its status, in order, each once.
    pub addresses: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// Ingress entries with an address that have more than we write, for example `ports`. Every write keeps that.
    pub detailed_ingress: Vec<(IpAddr, Value)>,
    /// Ingress entries of its status without an address. Every write keeps them.
    pub other_ingress: Vec<Value>,
    /// The conditions of its status. All but our types belong to others, and every write keeps those.
    pub conditions: Vec<Value>,
}

impl Service {
    /// The sharing key.
    #[must_use]
    pub const fn key(&self) -> Option<&SharingKey> {
        self.sharing.key.as_ref()
    }

    /// The addresses that the object calls its own: those of our list, else those of its status. An object that was
    /// copied from another one has none.
    #[must_use]
    pub fn claimed(&self) -> &[IpAddr] {
        match &self.provenance.list {
            Some(list) if !self.believes_status() => list,
            None if self.provenance.for_another => &[],
            _ => &self.addresses,
        }
    }

    /// Whether the status counts more than the list: a release of ours that does not know the list wrote it.
    #[must_use]
    pub fn believes_status(&self) -> bool {
        let Some(list) = &self.provenance.list else { return false };
        let same = self.addresses.len() == list.len() && list.iter().all(|address| self.addresses.contains(address));
        self.writers.status_by_us && !self.addresses.is_empty() && !same
    }

    /// Whether the status has the address in a form in which it is served: `ipMode: Proxy` keeps it from pods and nodes.
    #[must_use]
    pub fn shows(&self, address: IpAddr) -> bool {
        let is_proxy = |entry: &Value| entry.get("ipMode").is_some_and(|mode| mode != "VIP");
        let details = self.detailed_ingress.iter().find(|(detailed, _)| *detailed == address);
        self.addresses.contains(&address) && !details.is_some_and(|(_, entry)| is_proxy(entry))
    }

    /// The group that `allocated-from` names for one of the Service's addresses.
    #[must_use]
    pub fn written_group(&self, address: IpAddr) -> Option<&str> {
        let written = self.written.groups.as_deref()?;
        let position = self.claimed().iter().position(|held| *held == address)?;
        // A single name stands for all addresses.
        if written.contains(", ") { written.split(", ").nth(position) } else { Some(written) }
    }

    /// Whether this state of the object is later than the one of that resource version.
    #[must_use]
    pub fn is_newer_than(&self, version: &str) -> bool {
        match (self.version.parse::<u64>(), version.parse::<u64>()) {
            (Ok(ours), Ok(theirs)) => ours > theirs,
            // Versions that are not numbers have no order: the state that arrives last counts.
            _ => *self.version != *version,
        }
    }

    /// The order of Services by age: creation time, then UID.
    #[must_use]
    pub fn seniority(&self) -> (i64, &str) {
        (self.created, &self.uid)
    }

    /// The families that the Service wants and has no address of.
    #[must_use]
    pub fn missing_families(&self) -> Vec<Family> {
        let has = |family: &Family| self.addresses.iter().any(|&address| Family::of(address) == *family);
        let wanted = if self.families.is_empty() && self.addresses.is_empty() {
            &[Family::V6]
        } else {
            self.families.as_slice()
        };
        wanted.iter().copied().filter(|family| !has(family) && self.may_have(*family)).collect()
    }

    /// Whether the addresses that the user names, if any, include one of the family.
    #[must_use]
    pub fn may_have(&self, family: Family) -> bool {
        let Some(pins) = self.requested.pins() else { return true };
        let mut named = pins.split(',').filter_map(|part| part.trim().parse::<IpAddr>().ok()).peekable();
        named.peek().is_none() || named.any(|address| Family::of(address) == family)
    }

    /// Whether the Service wants something that it does not have: an address of a family, or a new allocation.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        // What another load balancer gave is not completed by us.
        let may_be_foreign = !self.addresses.is_empty() && self.provenance.list.is_none() && !self.written.by_us;
        self.scope == Scope::Ours
            && self.has_cluster_ip
            && !self.deleting
            && (self.requested.re_evaluate || !may_be_foreign && !self.missing_families().is_empty())
    }

    /// The reference for Kubernetes events about the Service.
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

/// A Service that was deleted or is no longer of type `LoadBalancer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Namespace and name.
    pub name: ServiceName,
    /// The UID of the object.
    pub uid: Box<str>,
    /// The resource version of the state that was seen.
    pub version: Box<str>,
    /// `allocated-from` of that state: the groups to which its addresses return.
    pub groups: Option<Box<str>>,
    /// `asked-of` of that state: the groups whose sidecars may have something for it.
    pub asked_of: Option<Box<str>>,
    /// The conditions that the object should keep, if one of ours is on it.
    pub conditions: Option<Vec<Value>>,
}

impl Leftover {
    /// The groups that `allocated-from` and `asked-of` name.
    pub fn written_groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().chain(&self.asked_of).flat_map(|groups| groups.split(", "))
    }
}

/// The conditions of others.
pub(crate) fn without_our_conditions(conditions: &[Value]) -> Vec<Value> {
    conditions.iter().filter(|condition| !is_our_condition(condition)).cloned().collect()
}

/// Whether the allocator writes conditions of this type on Services.
pub(crate) fn is_our_condition(condition: &Value) -> bool {
    condition.get("type").is_some_and(|kind| OURS.iter().any(|ours| kind == ours))
}

/// The addresses of hosts in a list, each once, as many as count.
pub(super) fn external_ips(list: &[String]) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in list.iter().filter_map(|text| text.parse().ok()).filter(|address| names_a_host(*address)) {
        if addresses.len() < MOST_EXTERNAL_IPS && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}
