//! What is taken off a Service that is being deleted, or that its user releases to other load balancers.

use std::net::IpAddr;

use api_types::names::reason;

use super::allocation::{Allocation, Basis};
use super::outcome::{AllocationAnnotations, AnnotationChange, Notice, Plan};
use super::text::joined;
use crate::model::Service;

/// The load balancer's part comes first: nothing new is given, and what was given goes from status and
/// annotations in one write. The addresses are free when that write is acknowledged.
pub(super) fn release(service: &Service, allocation: &Allocation, why: &str) -> Plan {
    let is_ours = |address: &IpAddr| allocation.basis == Basis::Copied || allocation.addresses.contains(address);
    let (ours, others): (Vec<IpAddr>, Vec<IpAddr>) = service.addresses.iter().copied().partition(is_ours);
    let written = &service.written;
    let marked = written.by_us || written.groups.is_some() || written.pool_type.is_some() || written.list;
    let none = AllocationAnnotations { groups: None, pool_type: None, skip_ipv6_dad: false };
    let released = format!("Released {}, {why}", joined(&allocation.addresses));
    Plan {
        addresses: Vec::new(),
        ingress: (!ours.is_empty()).then_some(others),
        annotations: if marked { AnnotationChange::Set(none) } else { AnnotationChange::Keep },
        notices: if allocation.addresses.is_empty() {
            Vec::new()
        } else {
            vec![Notice::normal(reason::ADDRESS_RELEASED, released)]
        },
        ..Plan::default()
    }
}
