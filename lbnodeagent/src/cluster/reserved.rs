//! Addresses that the Leases of other nodes name as their own, or as gateways.
//!
//! They count as long as the Lease exists, also after it has expired: a node that comes back has its addresses again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::cluster::lease::LeaseView;

/// The nodes that name an address, by address.
type Named = BTreeMap<IpAddr, BTreeSet<String>>;

/// Addresses that other nodes, or their gateways, have.
#[derive(Debug, Default)]
pub struct Reserved {
    own: Named,
    gateways: Named,
    changed: BTreeSet<IpAddr>,
}

impl Reserved {
    /// A node whose own address this is.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&str> {
        first(&self.own, address)
    }

    /// A node whose gateway this is.
    #[must_use]
    pub fn gateway_of(&self, address: IpAddr) -> Option<&str> {
        first(&self.gateways, address)
    }

    /// Replaces what a node's Lease says.
    pub(super) fn replace(&mut self, node: &str, before: Option<&LeaseView>, after: Option<&LeaseView>) {
        let lists = |view: Option<&LeaseView>| {
            view.map_or_else(Default::default, |view| (view.own.clone(), view.gateways.clone()))
        };
        let ((own_before, gateways_before), (own, gateways)) = (lists(before), lists(after));
        replace(&mut self.own, node, &own_before, &own, &mut self.changed);
        replace(&mut self.gateways, node, &gateways_before, &gateways, &mut self.changed);
    }

    /// The addresses of which something else holds since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<IpAddr> {
        std::mem::take(&mut self.changed)
    }
}

fn first(named: &Named, address: IpAddr) -> Option<&str> {
    named.get(&address)?.first().map(String::as_str)
}

fn replace(named: &mut Named, node: &str, before: &[IpAddr], after: &[IpAddr], changed: &mut BTreeSet<IpAddr>) {
    for address in before.iter().filter(|address| !after.contains(address)) {
        if let Some(nodes) = named.get_mut(address) {
            nodes.remove(node);
            if nodes.is_empty() {
                named.remove(address);
            }
        }
        changed.insert(*address);
    }
    for address in after.iter().filter(|address| !before.contains(address)) {
        named.entry(*address).or_default().insert(node.to_owned());
        changed.insert(*address);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(node: &str, own: &str, gateways: &str) -> LeaseView {
        let lease = json!({"metadata": {
            "name": format!("purelb-node-{node}"),
            "annotations": {"purelb.io/own-addresses": own, "purelb.io/gateways": gateways}
        }});
        LeaseView::new(&serde_json::from_value(lease).unwrap()).unwrap()
    }

    #[test]
    fn case_1_a_lease_reserves_addresses_until_it_says_otherwise() {
        let mut reserved = Reserved::default();
        let (own, gateway): (IpAddr, IpAddr) = ("192.0.2.12".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let one = view("a", "192.0.2.12", "192.0.2.1");
        reserved.replace("a", None, Some(&one));
        assert_eq!((reserved.owner(own), reserved.gateway_of(gateway)), (Some("a"), Some("a")));
        assert_eq!((reserved.owner(gateway), reserved.gateway_of(own)), (None, None));
        assert_eq!(reserved.take_changed(), [own, gateway].into());
        // Two nodes have the same gateway.
        let two = view("b", "", "192.0.2.1");
        reserved.replace("b", None, Some(&two));
        reserved.replace("a", Some(&one), None);
        assert_eq!((reserved.owner(own), reserved.gateway_of(gateway)), (None, Some("b")));
        reserved.take_changed();
        reserved.replace("b", Some(&two), Some(&two));
        assert!(reserved.take_changed().is_empty());
    }
}
