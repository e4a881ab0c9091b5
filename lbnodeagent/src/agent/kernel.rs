//! Changes in the kernel, and what they concern.

use std::net::IpAddr;

use runtime::BootTime;

use super::Agent;
use crate::decide::reason::Reason;
use crate::model::address::{AddressKey, KernelAddress};
use crate::model::observed::Affected;
use crate::report::status::Status;

impl Agent {
    /// Takes over what the kernel reports, and reads everything where that is not enough.
    pub(super) async fn listen(&mut self) {
        let before = self.host.is_stale();
        let affected = self.host.listen();
        self.note_affected(&affected);
        // If the state was stale before, reading has just failed and is tried again in a second.
        if self.host.is_stale() && !before {
            self.compare().await;
        }
    }

    /// Reads everything from the kernel and compares it with the observed state.
    pub(super) async fn compare(&mut self) {
        let affected = self.host.compare().await;
        self.note_affected(&affected);
        // Lifetimes run down without a notification, and an address that was never added cannot be reported as gone.
        let addresses = &self.host.observed().addresses;
        let due = self.remote.wanted().filter(|placement| {
            placement.attributes.valid_lifetime.is_some() || !addresses.contains_key(&placement.key)
        });
        let due: Vec<IpAddr> = due.map(|placement| placement.key.ip).collect();
        self.cluster.mark(due);
        runtime::memory::trim();
    }

    /// Notes what a change in the kernel may concern.
    pub(super) fn note_affected(&mut self, affected: &Affected) {
        if affected.is_empty() {
            return;
        }
        self.source_changed = true;
        self.interfaces_changed |= affected.links || affected.routes;
        for ip in &affected.addresses {
            // Of addresses that are not ours only those matter that make the host part of a network.
            let own = self.is_placed_by_us(*ip) && !self.is_taken(*ip);
            let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            self.interfaces_changed |= !own && !link_local;
        }
        // An address of ours may be reported after its Service is gone.
        let (plan, observed) = (self.plan(BootTime::now()), self.host.observed());
        let ours = |ip: IpAddr| observed.of(ip).any(|(key, found)| plan.is_ours(key, found));
        // One without a Service is guarded until it is gone.
        let known = |ip: &IpAddr| {
            let guarded = self.guard.plan.desired().of(*ip).is_some();
            guarded || self.status.contains_key(ip) || self.remote.anchors().contains_key(ip)
        };
        let concerned = affected.addresses.iter().filter(|ip| known(ip) || ours(**ip));
        let concerned: Vec<IpAddr> = concerned.copied().collect();
        self.cluster.mark(concerned);
    }

    /// Whether the address is, or may become, one that we put somewhere.
    fn is_placed_by_us(&self, ip: IpAddr) -> bool {
        let placed = self.status.get(&ip).is_some_and(|status| status.placed.is_some());
        let remote = self.remote.desired().contains_key(&ip) || self.remote.anchors().contains_key(&ip);
        placed || remote || self.local.candidacies.contains_key(&ip)
    }

    /// Whether somebody else has a Service's address on another interface than the dummy one, or the decision refused it
    /// because of that.
    fn is_taken(&self, ip: IpAddr) -> bool {
        let refused = |status: &Status| matches!(status.decision.reason, Reason::Refused(_));
        let (ours, dummy) = (self.ours(), self.dummy.index());
        let foreign = |key: &AddressKey, found: &KernelAddress| Some(key.index) != dummy && !ours.includes(key, found);
        let mut found = self.host.observed().of(ip);
        self.status.get(&ip).is_some_and(refused) || found.any(|(key, found)| foreign(key, found))
    }
}
