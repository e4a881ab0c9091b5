//! What is to be written for the addresses of a plan, and whether it only puts back what was there.

use std::net::IpAddr;

use api_types::Group;
use api_types::names::reason;

use super::allocation::{Allocation, Basis};
use super::outcome::{AnnotationChange, Notice, Plan};
use super::planner::Planner;
use super::text::joined;

impl Planner<'_> {
    /// An address that the marks of another object name, that fits, and that the Service may have: nobody else holds it,
    /// or gave it up a short time ago. Of several copies that show it, the oldest has it.
    pub(super) fn hinted(&self, group: &Group, fits: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let (freed, now) = (self.snapshot.freed, self.snapshot.now);
        self.service.provenance.hint.iter().copied().find(|&address| {
            fits(address)
                && group.pool_of(address).is_some()
                && !freed.was_anothers(address, &self.service.name, now)
                && (self.is_before_copies(address) || self.check_holders(group, address).is_ok())
                && self.check_reserved(group, address).is_ok()
        })
    }

    /// Completes the plan, whose addresses are decided.
    pub(super) fn finish(mut self) -> Plan {
        self.plan.annotations = self.annotations().map_or(AnnotationChange::Keep, AnnotationChange::Set);
        let given = std::mem::take(&mut self.plan.addresses);
        self.plan.ingress = self.ingress(&given);
        self.plan.restores = !self.service.requested.re_evaluate && self.keeps(&given);
        self.plan.only_marks = self.plan.restores
            && self.allocation.basis != Basis::Listed
            && self.plan.ingress.is_none()
            && self.plan.annotations != AnnotationChange::Keep;
        self.plan.addresses = given;
        let notices = [self.released(), self.overwritten(), self.copied()];
        self.plan.notices.extend(notices.into_iter().flatten());
        self.plan
    }

    /// The addresses to write to the status. Addresses of others stay as long as ours stand beside them; the entries that
    /// a write of ours replaces are lost.
    fn ingress(&self, given: &[IpAddr]) -> Option<Vec<IpAddr>> {
        let shown = &self.service.addresses;
        let missing = given.iter().any(|address| !self.service.shows(*address));
        let dropped =
            self.allocation.addresses.iter().any(|address| shown.contains(address) && !given.contains(address));
        let takes_over = self.allocation.basis == Basis::Copied || self.service.requested.re_evaluate;
        let replaced = takes_over && !given.is_empty() && shown.iter().any(|address| !given.contains(address));
        (missing || dropped || replaced).then(|| given.to_vec())
    }

    /// Whether these are the addresses that the Service has been given before.
    fn keeps(&self, given: &[IpAddr]) -> bool {
        let before = &self.allocation.addresses;
        before.len() == given.len() && given.iter().all(|address| before.contains(address))
    }

    fn released(&self) -> Option<Notice> {
        let before = self.allocation.addresses.iter();
        let dropped: Vec<IpAddr> = before.copied().filter(|address| !self.plan.addresses.contains(address)).collect();
        let text = format!("Released {}", joined(&dropped));
        (!dropped.is_empty()).then(|| Notice::normal(reason::ADDRESS_RELEASED, text))
    }

    fn overwritten(&self) -> Option<Notice> {
        let is_listed = self.allocation.basis == Basis::Listed;
        if !self.plan.restores || !is_listed || self.plan.ingress.is_none() {
            return None;
        }
        let (writer, given) = (self.service.writers.name(), joined(&self.plan.addresses));
        let shown = match self.service.addresses.as_slice() {
            [] => "no address".to_owned(),
            shown if shown == self.plan.addresses => {
                "another ipMode, by which pods and nodes do not reach it".to_owned()
            }
            shown => joined(shown),
        };
        let text = format!(
            "{writer} overwrote the status with {shown}; {given} is put back: keep other programs from writing status.loadBalancer of this Service"
        );
        Some(Notice::warning(reason::STATUS_OVERWRITTEN, text))
    }

    fn copied(&self) -> Option<Notice> {
        let provenance = &self.service.provenance;
        let is_marked = !self.plan.addresses.is_empty() && self.plan.annotations != AnnotationChange::Keep;
        (provenance.for_another && is_marked).then(|| {
            let (hint, given) = (joined(&provenance.hint), joined(&self.plan.addresses));
            let text = format!(
                "the annotations purelb.io/allocated-* were written for another object (a copy or a restored backup) and name {hint}; this Service has {given}"
            );
            Notice::warning(reason::CONFIGURATION_WARNING, text)
        })
    }
}

impl Allocation {
    /// What to tell about addresses of another load balancer.
    pub(super) fn foreign_remark(&self) -> Option<Notice> {
        if self.foreign.is_empty() || self.basis == Basis::Copied {
            return None;
        }
        let foreign = joined(&self.foreign);
        let text = format!(
            "another load balancer gave {foreign}, which is neither announced nor changed by this one; to replace it by an address from a ServiceGroup, set the annotation purelb.io/re-evaluate: \"true\""
        );
        Some(Notice::warning(reason::FOREIGN_ADDRESS, text))
    }
}
