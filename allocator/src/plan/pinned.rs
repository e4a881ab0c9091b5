//! The very addresses that the user names (specification, allocation.md 8).

use std::net::IpAddr;

use api_types::names::reason;
use api_types::{Family, Group};

use super::failure::{Failure, MOST_PINS};
use super::outcome::Notice;
use super::planner::{Assignment, Planner};
use super::select::check_namespace;
use crate::addresses::Refusal;

impl<'a> Planner<'a> {
    /// The addresses that the user names, each once; `None` if the user names none.
    pub(super) fn requested_addresses(&self) -> Result<Option<Vec<IpAddr>>, Failure> {
        let Some(text) = self.service.requested.pins() else { return Ok(None) };
        let mut addresses = Vec::new();
        for part in text.split(',').map(str::trim) {
            let address: IpAddr = part.parse().map_err(|_| Failure::InvalidAddress(part.to_owned()))?;
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.len() > MOST_PINS {
            return Err(Failure::TooManyAddresses(addresses.len()));
        }
        Ok(Some(addresses))
    }

    pub(super) fn pinned(&mut self, requested: &[IpAddr]) {
        let holds_all = requested.iter().all(|address| self.held.contains(address));
        let lost_none = self.held.len() == self.allocation.addresses.len();
        // The named addresses count only when something is to be allocated. Then they are all that the Service gets.
        if self.is_complete() || (holds_all && lost_none && !self.service.requested.re_evaluate) {
            let kept = self.held.iter().copied();
            self.plan.addresses = kept.filter(|address| self.wants(*address) || requested.contains(address)).collect();
            self.plan.remarks = self.missing_pins(requested).map(remark).collect();
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
        if !self.wants(address) {
            return Err(Failure::OtherFamily { address, families: self.service.families.clone() });
        }
        let (group, _) = self.snapshot.groups.group_of(address).ok_or_else(|| self.no_group(address))?;
        check_namespace(self.snapshot.bindings, self.service.name.namespace(), group)?;
        self.check_reserved(group, address)?;
        self.check_holders(group, address)?;
        Ok(Assignment { address, group })
    }

    fn no_group(&self, address: IpAddr) -> Failure {
        let by_field = self.service.requested.addresses.is_none();
        let writer = self.service.writers.load_balancer_ip.as_deref().filter(|_| by_field);
        Failure::NoGroup { address, writer: writer.map(str::to_owned) }
    }

    /// What to tell about families of which the requested addresses include none.
    fn missing_pins<'b>(&'b self, pinned: &'b [IpAddr]) -> impl Iterator<Item = String> + 'b {
        let missing = |family: &&Family| !pinned.iter().any(|&address| Family::of(address) == **family);
        self.service.families.iter().filter(missing).map(|family| {
            format!(
                "the Service gets no {family} address, because the requested addresses include none: add one to the annotation purelb.io/addresses"
            )
        })
    }

    /// Whether reservations let the Service have this very address. What its status shows it keeps, whoever else has it.
    pub(super) fn check_reserved(&self, group: &Group, address: IpAddr) -> Result<(), Failure> {
        if self.service.addresses.contains(&address) {
            return Ok(());
        }
        let check = self.snapshot.addresses.check_reserved(address, self.service.name.namespace());
        check.map_err(|refusal| Failure::Refusal { group: group.name.clone(), refusal })
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
        let mut note = |reason, text: String| self.plan.notices.push(Notice::normal(reason, text));
        if requested.addresses.is_none() {
            let text = "spec.loadBalancerIP is deprecated: use the annotation purelb.io/addresses instead";
            note(reason::DEPRECATION_WARNING, text.to_owned());
        } else if requested.groups.is_some() {
            let text = "the annotation purelb.io/service-group is ignored, because purelb.io/addresses names the addresses: remove one of them";
            note(reason::CONFIGURATION_WARNING, text.to_owned());
        }
        let missing: Vec<Notice> = self.missing_pins(pinned).map(remark).collect();
        self.plan.notices.extend(missing);
    }
}

const fn remark(text: String) -> Notice {
    Notice::normal(reason::FAMILY_UNAVAILABLE, text)
}
