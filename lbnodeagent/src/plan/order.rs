//! The order in which operations are done.

use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use super::operations::{Plan, network};
use crate::model::address::{AddressKey, KernelAddress};
use crate::model::operation::{Entry, Operation, Purpose};

impl Plan<'_> {
    /// Orders operations: make before break, with two exceptions. A put that replaces a deleted address comes
    /// after the deletion, and addresses that go with a deleted primary one are restored after it.
    pub(super) fn ordered(&self, puts: Vec<Operation>, mut deletes: Vec<AddressKey>) -> Vec<Operation> {
        let leaving: BTreeSet<AddressKey> = deletes.iter().copied().collect();
        let broken = self.broken_networks(&leaving);
        let restored = self.restored(&leaving, &broken);
        // Secondary addresses first: their deletion affects no other address.
        deletes.sort_by_key(|key| self.is_primary(key));
        let comes_after = |key: &AddressKey| {
            // The kernel knows an IPv6 address once per interface, whatever its prefix length.
            let replaced = if key.ip.is_ipv6() {
                let first = AddressKey { prefix_len: 0, ..*key };
                leaving.range(first..=AddressKey { prefix_len: u8::MAX, ..*key }).next().is_some()
            } else {
                leaving.contains(key)
            };
            replaced || self.shared(key).is_some_and(|network| broken.contains(&network))
        };
        let (after, mut operations): (Vec<_>, Vec<_>) = puts.into_iter().partition(|put| comes_after(put.key()));
        let put_again: BTreeSet<AddressKey> = after.iter().map(|put| *put.key()).collect();
        // On the dummy interface these are deleted explicitly, so that it does not matter whether the kernel
        // promotes secondary addresses: BIRD 1.6 loses the route when it does.
        operations.extend(
            restored.iter().filter(|key| self.remote_links.contains(&key.index)).map(|key| Operation::Delete(*key)),
        );
        for key in deletes {
            operations.extend(self.made_permanent(&key));
            operations.push(Operation::Delete(key));
        }
        for key in restored.iter().filter(|key| !put_again.contains(key)) {
            if let Some(found) = self.observed.addresses.get(key) {
                let wanted = self.wanted(key.ip).find(|placement| placement.key == *key);
                let entry = wanted.map_or_else(|| Entry::found(*key, found, self.now), |wanted| Entry::ours(&wanted));
                operations.push(Operation::Put(entry, Purpose::Restore));
            }
        }
        operations.extend(after);
        operations
    }

    fn is_primary(&self, key: &AddressKey) -> bool {
        self.observed.addresses.get(key).is_some_and(|found| !found.secondary)
    }

    /// The interface and network that an address shares with others which are affected when it is deleted. For
    /// IPv4 the kernel affects them. IPv6 has no primary addresses, but on the dummy interface routing daemons
    /// import the network's route, and BIRD 1.6 drops it together with any one of its addresses.
    fn shared(&self, key: &AddressKey) -> Option<(u32, IpNetwork)> {
        let watched = key.prefix_len < 128 && self.remote_links.contains(&key.index);
        if key.ip.is_ipv6() && watched { Some((key.index, key.network()?)) } else { network(key) }
    }

    /// The networks whose primary address is deleted; for IPv6, any address.
    fn broken_networks(&self, leaving: &BTreeSet<AddressKey>) -> BTreeSet<(u32, IpNetwork)> {
        leaving.iter().filter(|key| self.is_primary(key)).filter_map(|key| self.shared(key)).collect()
    }

    /// The remaining addresses that are put again. For IPv4 those are the addresses that the kernel deletes or
    /// promotes together with a primary one: those of the same network and prefix length on the same interface.
    /// For IPv6 one of ours in each network is enough to bring its route back.
    fn restored(&self, leaving: &BTreeSet<AddressKey>, broken: &BTreeSet<(u32, IpNetwork)>) -> Vec<AddressKey> {
        if broken.is_empty() {
            return Vec::new();
        }
        let goes_along = |(key, found): &(&AddressKey, &KernelAddress)| {
            let ours = key.ip.is_ipv4() || self.is_ours(key, found);
            ours && !leaving.contains(key) && self.shared(key).is_some_and(|network| broken.contains(&network))
        };
        let mut restored: Vec<_> = self.observed.addresses.iter().filter(goes_along).collect();
        // The first one becomes the primary address, which has the connected route. It should be the host's
        // own.
        restored.sort_by_key(|(key, found)| self.is_ours(key, found));
        let mut networks = BTreeSet::new();
        restored.retain(|(key, _)| key.ip.is_ipv4() || networks.insert(self.shared(key)));
        restored.into_iter().map(|(key, _)| *key).collect()
    }
}
