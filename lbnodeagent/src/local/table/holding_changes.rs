//! What the kernel has that the protocol did not put there: the answer to members that ask for it.
//!
//! An address on an interface on which a service proxy keeps VIPs of the whole cluster is none of them. What somebody
//! else put on any other interface is foreign; what the agent put on the dummy interface is a route.

use std::net::IpAddr;

use api_types::reserved::{SERVICE_PROXY_INTERFACES, names_a_host};
use ownership::KernelHolding;

use super::Table;
use crate::model::address::{AddressKey, KernelAddress};

/// Whether an address is there: not while duplicate address detection runs, nor when it has found another host.
fn is_there(key: &AddressKey, found: &KernelAddress) -> bool {
    key.ip.is_ipv4() || found.usable || found.preferred == Some(0)
}

impl Table {
    /// What changed since the last call.
    pub(in crate::local) fn take_holdings(&mut self) -> Vec<(IpAddr, Option<KernelHolding>)> {
        let mut changes = Vec::new();
        for ip in std::mem::take(&mut self.holdings.touched).into_iter().filter(|ip| names_a_host(*ip)) {
            let holding = self.holding(ip);
            let before = match holding {
                Some(holding) => self.holdings.reported.insert(ip, holding),
                None => self.holdings.reported.remove(&ip),
            };
            if before != holding {
                changes.push((ip, holding));
            }
        }
        changes
    }

    /// How the kernel has an address that the protocol does not hold.
    fn holding(&self, ip: IpAddr) -> Option<KernelHolding> {
        if self.owned.contains(&ip) {
            return None;
        }
        let proxied = |key: &AddressKey| SERVICE_PROXY_INTERFACES.contains(&self.observed().name_of(key.index));
        let foreign = |key: &AddressKey, found: &KernelAddress| {
            // Where the kernel cannot mark addresses, one with a lifetime may be left from an earlier run.
            let may_be_ours = !self.marks_addresses && found.valid.is_some();
            !proxied(key) && is_there(key, found) && !may_be_ours && !self.ours().includes(key, found)
        };
        let remote: Vec<bool> = self.holdings.of(ip).filter(|(key, _)| !proxied(key)).map(|(_, ours)| ours).collect();
        if remote.contains(&false) || self.observed().of(ip).any(|(key, found)| foreign(key, found)) {
            return Some(KernelHolding::Foreign);
        }
        (!remote.is_empty()).then_some(KernelHolding::Remote)
    }
}
