//! The very addresses that the user names (specification, allocation.md 8).

use std::net::IpAddr;

use api_types::names::reason;
use api_types::{Family, Group};

use super::failure::Failure;
use super::outcome::Notice;
use super::planner::{Assignment, Planner};
use super::select::check_namespace;
use crate::addresses::Refusal;

impl<'a> Planner<'a> {
    /// The addresses that the user names, each once; `None` if the user names none.
    pub(super) fn requested_addresses(&self) -> Result<Option<Vec<IpAddr>>, Failure> {
        let requested = &self.service.requested;
        let Some(text) = requested.addresses.as_deref().or(requested.load_balancer_ip.as_deref()) else {
            return Ok(None);
        };
        let mut addresses = Vec::new();
        for part in text.split(',') {
            let address: IpAddr = part.parse().map_err(|_| Failure::InvalidAddress(part.to_owned()))?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(Some(addresses))
    }

    pub(super) fn pinned(&mut self, requested: &[IpAddr]) {
        let holds_all = requested.iter().all(|address| self.held.contains(address));
        let lost_none = self.held.len() == self.service.addresses.len();
        // The named addresses count only when something is to be allocated. Then they are all that the Service gets.
        if self.is_complete() || (holds_all && lost_none && !self.service.requested.re_evaluate) {
            let kept = self.held.iter().copied();
            self.plan.addresses = kept.filter(|address| self.wants(*address) || requested.contains(address)).collect();
            return;
        }
        match requested.iter().map(|&address| self.pin(address)).collect::<Result<Vec<_>, _>>() {
            Err(failure) => self.fail(&failure),
            Ok(pinned) => {
                let new: Vec<Assignment<'a>> =
                    pinned.into_iter().filter(|assignment| !self.held.contains(&assignment.address)).collect();
                self.assign(requested.to_vec(), &new);
                if !new.is_empty() {
                    self.add_remarks(requested);
                }
            }
        }
    }

    fn pin(&self, address: IpAddr) -> Result<Assignment<'a>, Failure> {
        let (group, _) = self.snapshot.groups.group_of(address).ok_or(Failure::NoGroup(address))?;
        check_namespace(self.snapshot.bindings, self.service.name.namespace(), group)?;
        self.check_holders(group, address)?;
        Ok(Assignment { address, group })
    }

    /// Whether the other holders let the Service have this very address (specification, allocation.md 7).
    pub(super) fn check_holders(&self, group: &Group, address: IpAddr) -> Result<(), Failure> {
        let refused = |refusal| Failure::Refusal { group: group.name.clone(), refusal };
        let bound = self.addresses_of_key(group, Family::of(address));
        if let (Some(key), Some(&elsewhere)) = (self.service.key(), bound.first())
            && !bound.contains(&address)
        {
            let key = key.to_string();
            return Err(refused(Refusal::KeyElsewhere { key, bound: elsewhere, address }));
        }
        self.snapshot.addresses.check(address, &self.service.name, &self.service.sharing).map_err(refused)
    }

    fn add_remarks(&mut self, pinned: &[IpAddr]) {
        let requested = &self.service.requested;
        let mut remark = |reason, text: String| self.plan.notices.push(Notice::normal(reason, text));
        if requested.addresses.is_none() {
            let text = "spec.loadBalancerIP is deprecated: use the annotation purelb.io/addresses instead";
            remark(reason::DEPRECATION_WARNING, text.to_owned());
        } else if requested.groups.is_some() {
            let text = "the annotation purelb.io/service-group is ignored, because purelb.io/addresses names the addresses: remove one of them";
            remark(reason::CONFIGURATION_WARNING, text.to_owned());
        }
        for family in &self.service.families {
            if !pinned.iter().any(|&address| Family::of(address) == *family) {
                let text = format!(
                    "the Service gets no {family} address, because the requested addresses include none: add one to the annotation purelb.io/addresses"
                );
                remark(reason::FAMILY_UNAVAILABLE, text);
            }
        }
    }
}
