//! The networks from which Services get their cluster IPs, from ServiceCIDR objects.

use std::collections::BTreeMap;

use api_types::range::parse_cidr;
use api_types::{AddressRange, Group, Pool};
use ipnetwork::IpNetwork;
use k8s_openapi::api::networking::v1::ServiceCIDR;

/// The networks of each ServiceCIDR, by its name. Empty where the API server does not serve that kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceNetworks(BTreeMap<String, Vec<IpNetwork>>);

impl ServiceNetworks {
    /// A ServiceCIDR was added or changed. Entries that are no networks are skipped.
    pub fn apply(&mut self, object: &ServiceCIDR) {
        let cidrs = object.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
        let networks = cidrs.filter_map(|text| parse_cidr(text)).collect();
        self.0.insert(object.metadata.name.clone().unwrap_or_default(), networks);
    }

    /// A ServiceCIDR was deleted.
    pub fn delete(&mut self, object: &ServiceCIDR) {
        self.0.remove(object.metadata.name.as_deref().unwrap_or_default());
    }

    /// The first pool of the group that has an address in common with a network, and that ServiceCIDR and network.
    #[must_use]
    pub fn overlap<'a>(&'a self, group: &'a Group) -> Option<(&'a Pool, &'a str, IpNetwork)> {
        group.pools.iter().find_map(|pool| {
            let networks =
                self.0.iter().flat_map(|(name, networks)| networks.iter().map(move |network| (name, network)));
            let mut overlapping =
                networks.filter(|(_, network)| AddressRange::of_network(**network).overlaps(pool.range));
            overlapping.next().map(|(name, network)| (pool, name.as_str(), *network))
        })
    }
}

impl FromIterator<ServiceCIDR> for ServiceNetworks {
    fn from_iter<T: IntoIterator<Item = ServiceCIDR>>(objects: T) -> Self {
        let mut networks = Self::default();
        for object in objects {
            networks.apply(&object);
        }
        networks
    }
}
