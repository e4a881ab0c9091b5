//! Exactly the addresses that the user names (specification, allocation.md 8).

use std::net::IpAddr;

use api_types::names::reason;
use api_types::{Family, Group};
use runtime::events::Kind;

use super::{Case, Failure, Given};
use crate::pool::Refusal;
use crate::select::check;

impl<'a> Case<'a> {
    /// The addresses asked for, each once, if any are.
    pub(super) fn pins(&self) -> Result<Option<Vec<IpAddr>>, Failure> {
        let wishes = &self.service.wishes;
        let Some(text) = wishes.addresses.as_deref().or(wishes.load_balancer_ip.as_deref()) else { return Ok(None) };
        let mut pins = Vec::new();
        for part in text.split(',') {
            let address: IpAddr = part.parse().map_err(|_| Failure::InvalidAddress(part.to_owned()))?;
            if !pins.contains(&address) {
                pins.push(address);
            }
        }
        Ok(Some(pins))
    }

    pub(super) fn pinned(&mut self, pins: &[IpAddr]) {
        let holds_all = pins.iter().all(|pin| self.held.contains(pin));
        let nothing_lost = self.held.len() == self.service.addresses.len();
        // Pins are looked at only when something is to be allocated; then they say what all of it is.
        if self.is_complete() || (holds_all && nothing_lost && !self.service.wishes.re_evaluate) {
            let addresses = self.held.iter().copied().filter(|address| self.wants(*address) || pins.contains(address));
            self.verdict.addresses = addresses.collect();
            return;
        }
        match pins.iter().map(|&pin| self.pin(pin)).collect::<Result<Vec<_>, _>>() {
            Err(failure) => self.fail(&failure),
            Ok(given) => {
                let new: Vec<Given<'a>> =
                    given.into_iter().filter(|given| !self.held.contains(&given.address)).collect();
                let news = !new.is_empty();
                self.settle(pins.to_vec(), &new);
                if news {
                    self.remarks(pins);
                }
            }
        }
    }

    fn pin(&self, address: IpAddr) -> Result<Given<'a>, Failure> {
        let (group, _) = self.world.table.group_of(address).ok_or(Failure::NoGroup(address))?;
        check(self.world.bindings, self.service.name.namespace(), group)?;
        self.check(group, address)?;
        Ok(Given { address, group })
    }

    /// Whether the Service may have this very address (specification, allocation.md 7).
    pub(super) fn check(&self, group: &Group, address: IpAddr) -> Result<(), Failure> {
        let refused = |refusal| Failure::Refusal { group: group.name.clone(), refusal };
        let bound = self.bound(group, Family::of(address));
        if let (Some(key), Some(&elsewhere)) = (self.service.key(), bound.first())
            && !bound.contains(&address)
        {
            let key = key.to_string();
            return Err(refused(Refusal::KeyElsewhere { key, bound: elsewhere, address }));
        }
        self.world.book.check(address, &self.service.name, &self.service.claim).map_err(refused)
    }

    fn remarks(&mut self, pins: &[IpAddr]) {
        let wishes = &self.service.wishes;
        let mut remark = |reason, text: String| self.verdict.notes.push((Kind::Normal, reason, text));
        if wishes.addresses.is_none() {
            let text = "spec.loadBalancerIP is deprecated: use the annotation purelb.io/addresses".to_owned();
            remark(reason::DEPRECATION_WARNING, text);
        } else if wishes.groups.is_some() {
            let text = "both purelb.io/addresses and purelb.io/service-group are given: service-group is ignored";
            remark(reason::CONFIGURATION_WARNING, text.to_owned());
        }
        for family in &self.service.families {
            if !pins.iter().any(|&pin| Family::of(pin) == *family) {
                let text = format!("the addresses asked for include no {family} address, so the Service has none");
                remark(reason::FAMILY_UNAVAILABLE, text);
            }
        }
    }
}
