//! Whose the addresses in a Service's status are (design, section 8).
//!
//! The allocator writes `purelb.io/allocated-addresses` and `purelb.io/allocated-to` in the patch that gives addresses.
//! The list counts only for the object whose UID stands beside it: a copy or a restored backup is another object.
//! Anybody may write a status, so allocator and agents ask this module before they believe one.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;

use crate::names::{CLASSES, annotation as keys};
use crate::reserved::names_a_host;
use crate::service::{annotation, ingress_addresses};

/// What the Service says of addresses that we gave it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each stands for something that the Service says")]
pub struct Provenance {
    /// `allocated-addresses`, if `allocated-to` is this object's UID; nothing if the annotation is missing, names no
    /// address, or was written for another object. It is never empty.
    pub list: Option<Vec<IpAddr>>,
    /// `allocated-addresses` was written for an object with another UID.
    pub for_another: bool,
    /// `allocated-addresses` of another object: what the allocator may give again if it is free, and no more.
    pub hint: Vec<IpAddr>,
    /// `allocated-by` names us.
    pub by_us: bool,
    /// `allocated-by` names us, and `allocated-from` and `pool-type` stand beside it.
    pub complete: bool,
    /// The Service names a class of ours, which nobody else serves.
    pub our_class: bool,
}

impl Provenance {
    /// Reads it from a Service.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        let class = service.spec.as_ref().and_then(|spec| spec.load_balancer_class.as_deref());
        Self::read(service.metadata.uid.as_deref(), class, |key| annotation(service, key))
    }

    /// Reads it from the parts of a Service: its UID, its class, and its annotations by key.
    #[must_use]
    pub fn read<'a>(uid: Option<&str>, class: Option<&str>, annotation: impl Fn(&str) -> Option<&'a str>) -> Self {
        let written = annotation(keys::ALLOCATED_ADDRESSES).map(read_addresses);
        let same = annotation(keys::ALLOCATED_TO) == uid;
        let by_us = annotation(keys::ALLOCATED_BY) == Some(keys::ALLOCATED_BY_US);
        let for_another = written.is_some() && !same;
        let (list, hint) = if same { (written, None) } else { (None, written) };
        Self {
            list: list.filter(|list| !list.is_empty()),
            for_another,
            hint: hint.unwrap_or_default(),
            by_us,
            complete: by_us && annotation(keys::ALLOCATED_FROM).is_some() && annotation(keys::POOL_TYPE).is_some(),
            our_class: class.is_some_and(|class| CLASSES.contains(&class)),
        }
    }

    /// Whether the list names the address; nothing if there is no list for this object.
    #[must_use]
    pub fn lists(&self, address: IpAddr) -> Option<bool> {
        self.list.as_ref().map(|list| list.contains(&address))
    }

    /// Whether an address in the status of a Service without a list counts as given by us.
    ///
    /// - The marks of an earlier release are complete, and the address lies in a pool in force or came from an external
    ///   group.
    /// - An agent's kernel has it from us for this object.
    /// - It lies in a pool of ours, and the Service names a class that only we serve.
    ///
    /// The first and the last do not hold for an object that carries another object's marks.
    #[must_use]
    pub const fn counts_as_given(&self, evidence: Evidence) -> bool {
        evidence.held
            || !self.for_another
                && (self.complete && (evidence.in_pool || evidence.external) || evidence.in_pool && self.our_class)
    }

    /// What agents may do about an address; see [`Right`].
    #[must_use]
    pub const fn right(&self, listed: Option<bool>, in_status: bool, evidence: Evidence, old_leader: bool) -> Right {
        match (listed, in_status) {
            (Some(true), true) => Right::Start,
            // An old manifest was applied again, or an allocator that does not know the list gave the address.
            (Some(false), true) if self.by_us && old_leader => Right::Start,
            (None, true) if self.counts_as_given(evidence) => Right::Start,
            (Some(true), false) | (_, true) => Right::Keep,
            (_, false) => Right::Withdraw,
        }
    }
}

/// What is known of an address beside its Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evidence {
    /// It lies in a pool in force.
    pub in_pool: bool,
    /// `allocated-from` names an external group.
    pub external: bool,
    /// An agent's kernel has it from us for this object: `announcing-*` or the agent's Lease says so.
    pub held: bool,
}

/// What agents may do about an address of a Service of our type and class that is not being deleted.
///
/// | `allocated-addresses` | in status | right |
/// |---|---|---|
/// | lists it | yes | [`Start`](Self::Start) |
/// | lists it | no | [`Keep`](Self::Keep) |
/// | lists others | yes | [`Keep`](Self::Keep); [`Start`](Self::Start) if we are named and the leader is of a release without the list |
/// | missing | yes | [`Start`](Self::Start) if it counts as given by us, else [`Keep`](Self::Keep) |
/// | missing, or lists others | no | [`Withdraw`](Self::Withdraw) |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Nobody may announce it.
    Withdraw,
    /// What a member announces goes on: failover, moves and restarts included. Nobody begins.
    Keep,
    /// Announce it.
    Start,
}

/// The addresses that an annotation lists, joined by commas; blanks are allowed, entries that no Service can have are
/// dropped.
#[must_use]
pub fn read_addresses(text: &str) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in text.split(',').filter_map(|part| part.trim().parse().ok()) {
        if names_a_host(address) && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// The value of `allocated-addresses`.
#[must_use]
pub fn addresses_value(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The addresses that agents look at: those of the status, then those that only the list has.
#[must_use]
pub fn all_addresses(service: &Service, provenance: &Provenance) -> Vec<IpAddr> {
    let mut addresses = ingress_addresses(service);
    addresses.retain(|address| names_a_host(*address));
    for address in provenance.list.iter().flatten() {
        if !addresses.contains(address) {
            addresses.push(*address);
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const ADDRESS: &str = "192.0.2.1";

    #[allow(clippy::needless_pass_by_value, reason = "calls read better without the reference")]
    fn service(annotations: Value, class: Option<&str>) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "1", "annotations": annotations},
            "spec": {"type": "LoadBalancer", "loadBalancerClass": class},
            "status": {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}}
        }))
        .unwrap()
    }

    fn listed(addresses: &str, uid: &str) -> Value {
        json!({"purelb.io/allocated-by": "PureLB", "purelb.io/allocated-addresses": addresses, "purelb.io/allocated-to": uid})
    }

    const POOL: Evidence = Evidence { in_pool: true, external: false, held: false };
    const NOTHING: Evidence = Evidence { in_pool: false, external: false, held: false };
    const HELD: Evidence = Evidence { in_pool: false, external: false, held: true };

    #[rstest]
    #[case::listed(listed("192.0.2.1", "1"), true, NOTHING, false, Right::Start)]
    #[case::emptied(listed("192.0.2.1", "1"), false, NOTHING, false, Right::Keep)]
    #[case::old_manifest(listed("192.0.2.9", "1"), true, POOL, false, Right::Keep)]
    #[case::old_leader(listed("192.0.2.9", "1"), true, POOL, true, Right::Start)]
    #[case::of_another(listed("192.0.2.1", "2"), true, POOL, false, Right::Keep)]
    #[case::of_another_held(listed("192.0.2.1", "2"), true, HELD, false, Right::Start)]
    #[case::no_marks(json!({}), true, POOL, false, Right::Keep)]
    #[case::no_marks_held(json!({}), true, HELD, false, Right::Start)]
    #[case::gone(json!({}), false, POOL, false, Right::Withdraw)]
    #[case::released(listed("192.0.2.9", "1"), false, POOL, false, Right::Withdraw)]
    fn what_agents_may_do(
        #[case] annotations: Value,
        #[case] in_status: bool,
        #[case] evidence: Evidence,
        #[case] old_leader: bool,
        #[case] expected: Right,
    ) {
        let provenance = Provenance::of(&service(annotations, None));
        let listed = provenance.lists(ADDRESS.parse().unwrap());
        assert_eq!(provenance.right(listed, in_status, evidence, old_leader), expected);
    }

    #[test]
    fn marks_of_an_earlier_release_count_in_a_pool_or_an_external_group() {
        let old = json!({"purelb.io/allocated-by": "PureLB", "purelb.io/allocated-from": "default", "purelb.io/pool-type": "local"});
        let provenance = Provenance::of(&service(old.clone(), None));
        assert!(provenance.counts_as_given(POOL));
        assert!(provenance.counts_as_given(Evidence { external: true, ..NOTHING }));
        assert!(!provenance.counts_as_given(NOTHING));
        let mut partial = old;
        partial.as_object_mut().unwrap().remove("purelb.io/pool-type");
        assert!(!Provenance::of(&service(partial, None)).counts_as_given(POOL));
    }

    #[test]
    fn a_class_of_ours_counts_in_a_pool_of_ours() {
        let provenance = Provenance::of(&service(json!({}), Some("purelb.io/purelbv2")));
        assert!(provenance.counts_as_given(POOL));
        assert!(!provenance.counts_as_given(NOTHING));
        assert!(!Provenance::of(&service(json!({}), Some("example.com/other"))).counts_as_given(POOL));
        // The marks of another object show that somebody copied it.
        assert!(!Provenance::of(&service(listed(ADDRESS, "2"), Some("purelb.io/purelbv2"))).counts_as_given(POOL));
    }

    #[test]
    fn a_list_of_another_object_is_a_hint_and_an_unreadable_one_is_missing() {
        let copied = Provenance::of(&service(listed(ADDRESS, "2"), None));
        assert!(copied.list.is_none() && copied.for_another);
        assert_eq!(copied.hint, [ADDRESS.parse::<IpAddr>().unwrap()]);
        let unreadable = Provenance::of(&service(listed("nonsense", "1"), None));
        assert!(unreadable.list.is_none() && !unreadable.for_another && unreadable.hint.is_empty());
    }

    #[test]
    fn lists_allow_blanks_and_drop_what_no_service_can_have() {
        assert_eq!(
            addresses_value(&read_addresses(" 192.0.2.1, fd00::1 ,192.0.2.1,nonsense,127.0.0.1,")),
            "192.0.2.1,fd00::1"
        );
    }
}
