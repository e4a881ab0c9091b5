//! External groups: what is asked of sidecars, and what their answers lead to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::Ipam;
use api_types::names::reason;
use runtime::BootTime;
use runtime::events::Kind;

use super::Index;
use crate::ipam::{Call, Effects, Reply, Trouble};
use crate::judge::Verdict;
use crate::service::{Name, Scope};

impl Index {
    /// The next call to a sidecar, if there is any.
    pub fn next_call(&mut self, now: BootTime) -> Option<Call> {
        if self.leading { self.ledger.next_call(now) } else { None }
    }

    /// What became of a call of [`next_call`](Self::next_call).
    pub fn answered(&mut self, call: &Call, result: &Result<Reply, Trouble>, now: BootTime) {
        let Effects { judge, groups, release_failed } = self.ledger.answered(call, result, now);
        for name in judge {
            self.enqueue(&name);
        }
        for group in groups {
            self.touch_group(&group);
        }
        let Some((group, name, why)) = release_failed else { return };
        let note = format!(
            "the IPAM sidecar of pool {group:?} does not take back what {name} had: {why}; it is tried again until it does"
        );
        let object = match self.service(&name) {
            Some(service) => service.reference(),
            None => match self.table.id_of(&group) {
                Some(id) => self.group_reference(id),
                None => return,
            },
        };
        self.say(object, Kind::Warning, reason::RELEASE_FAILED, note);
    }

    /// Whether nothing is under way with a sidecar that a successor would have to know of.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.ledger.is_quiet()
    }

    /// Takes over the external groups of the table. What a leader before could not give back is tried again.
    pub(super) fn take_over_sidecars(&mut self) {
        for group in self.ledger.set_groups(&self.table) {
            self.recall(&group);
        }
    }

    pub(super) fn take_over_all_sidecars(&mut self) {
        self.ledger.clear(&self.table);
        let groups: Vec<String> = self.table.accepted().map(|(_, group)| group.name.clone()).collect();
        for group in groups {
            self.recall(&group);
        }
    }

    fn recall(&mut self, group: &str) {
        let status = self.table.id_of(group).and_then(|id| self.objects.get(id)?.status.as_ref());
        let noted = status.map(|status| status.pending_releases.clone()).unwrap_or_default();
        for pending in noted {
            let Some((namespace, name)) = pending.service.split_once('/') else { continue };
            let name = Name::new(namespace, name);
            let address: Option<IpAddr> = pending.address.as_deref().and_then(|text| text.parse().ok());
            if pending.address.is_some() && address.is_none() {
                continue;
            }
            // The note may be older than what the Service has by now.
            let has = self.service(&name).is_some_and(|service| {
                let from_here = service.addresses.iter().filter(|held| service.marked_group(**held) == Some(group));
                from_here.copied().any(|held| address.is_none_or(|address| held == address))
            });
            if !has {
                self.ledger.recall(group, &name, address);
            }
        }
    }

    /// A verdict's wishes reach the ledger; a Service at rest gives back what it does not have.
    pub(super) fn settle_external(&mut self, name: &Name, verdict: &Verdict, at_rest: bool) {
        if self.ledger.is_empty() {
            return;
        }
        for (group, ask) in &verdict.asks {
            self.ledger.ask(group, name, ask.clone());
        }
        for reject in &verdict.rejects {
            self.ledger.reject(&reject.group, name, &reject.addresses, reject.why.as_deref());
        }
        let Some(service) = self.services.get(name).map(|entry| &entry.service) else { return };
        if service.scope == Scope::Ignored {
            return;
        }
        let mut has: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        if service.scope == Scope::Ours && service.marks.allocated {
            for &address in &service.addresses {
                if let Some(group) = service.marked_group(address) {
                    has.entry(group).or_default().insert(address);
                }
            }
        }
        self.ledger.note(name, &has);
        if !at_rest {
            return self.ledger.leave(name, &verdict.addresses, &verdict.asks);
        }
        for group in self.ledger.settle(name, &has, &verdict.asks) {
            self.touch_group(&group);
        }
    }

    /// A Service is gone, or was found to be no longer one: `marked` are groups that its annotations name.
    pub(super) fn give_back_all<'a>(&mut self, name: &Name, marked: impl Iterator<Item = &'a str>) {
        if self.leading {
            for group in self.ledger.forget(name, marked) {
                self.touch_group(&group);
            }
        }
    }

    fn touch_group(&mut self, group: &str) {
        if let Some(id) = self.table.id_of(group).cloned() {
            self.status.touch(id);
        }
    }

    pub(super) fn is_external(&self, group: &str) -> bool {
        self.table.get(group).is_some_and(|group| matches!(group.ipam, Ipam::External { .. }))
    }
}
