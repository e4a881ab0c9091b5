//! Addresses that an IPAM sidecar hands out (specification, allocation.md 12).

use std::net::IpAddr;

use api_types::names::reason;
use api_types::{Family, Group, Ipam, SharingKey};
use runtime::events::Kind;

use super::{Case, Failure, Given, Reject};
use crate::ipam::{Ask, Grant, usable};
use crate::select::Choice;

/// Whether a sidecar hands out the addresses of the group.
pub(super) const fn is_external(group: &Group) -> bool {
    matches!(group.ipam, Ipam::External { .. })
}

impl<'a> Case<'a> {
    /// The addresses of one family that the sidecar gave, as far as they can be used. The first call notes what is to be
    /// asked: everything that the Service wants of the group, since the answer names all that it has there.
    pub(super) fn external(
        &mut self,
        group: &'a Group,
        choice: &Choice<'a>,
        wanted: &[Family],
        family: Family,
    ) -> Result<Vec<Given<'a>>, Failure> {
        let from_here = |family: Family| {
            wanted.contains(&family) && choice.for_family(family).is_some_and(|chosen| chosen.name == group.name)
        };
        let key = self.service.key().map(SharingKey::to_string).unwrap_or_default();
        let ask = Ask { v4: from_here(Family::V4), v6: from_here(Family::V6), key };
        if !self.verdict.asks.iter().any(|(asked, _)| *asked == group.name) {
            self.verdict.asks.push((group.name.clone(), ask.clone()));
        }
        let given = match self.world.ledger.grant(&group.name, &self.service.name, &ask) {
            Grant::Waiting => return Err(Failure::Asking(group.name.clone())),
            Grant::Failed(text) => return Err(sidecar(group, text)),
            Grant::Given(addresses) => addresses.iter().copied().filter(|&address| Family::of(address) == family),
        };
        let (mut right, mut wrong) = (Vec::new(), Vec::new());
        for address in given {
            match self.fits(address) {
                Ok(()) => right.push(Given { address, group }),
                Err(why) => wrong.push((address, format!("it gave {address}, {why}; the address was given back"))),
            }
        }
        let why = wrong.first().map(|(_, why)| why.clone());
        let reject = |why| Reject {
            group: group.name.clone(),
            addresses: wrong.iter().map(|(address, _)| *address).collect(),
            why,
        };
        if right.is_empty() {
            let why = why.unwrap_or_else(|| format!("it gave no {family} address"));
            self.verdict.rejects.push(reject(Some(why.clone())));
            return Err(sidecar(group, &why));
        }
        if let Some(why) = why {
            self.verdict.rejects.push(reject(None));
            let text = format!("pool {:?}: its IPAM sidecar is in error: {why}", group.name);
            self.verdict.notes.push((Kind::Warning, reason::ALLOCATION_FAILED, text));
        }
        Ok(right)
    }

    /// Whether the Service can have an address that the sidecar gave: the sidecar knows nothing of other groups.
    fn fits(&self, address: IpAddr) -> Result<(), String> {
        usable(address).map_err(str::to_owned)?;
        if let Some((other, pool)) = self.world.table.group_of(address) {
            return Err(format!("which lies in {} of pool {:?}", pool.text, other.name));
        }
        let check = self.world.book.check(address, &self.service.name, &self.service.claim);
        check.map_err(|refusal| format!("which another Service has: {refusal}"))
    }

    /// What a Service that is judged as if new may keep: what it has from this very group.
    pub(super) fn still_from(&self, group: &'a Group, family: Family) -> Vec<Given<'a>> {
        let held = self.held.iter().copied().filter(|&address| Family::of(address) == family);
        let from_here = held.filter(|&address| self.group_of(address).is_some_and(|from| from.name == group.name));
        from_here.map(|address| Given { address, group }).collect()
    }
}

fn sidecar(group: &Group, text: &str) -> Failure {
    Failure::Sidecar { group: group.name.clone(), text: text.to_owned() }
}
