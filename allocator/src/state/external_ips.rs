//! `spec.externalIPs` of all Services, and which of them count.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{MOST_EXTERNAL_IPS, ServiceName};

/// The watch that shows a Service: a Service that changes its type leaves one watch and enters the other, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watch {
    LoadBalancers,
    OtherTypes,
}

/// The external IPs of all Services.
#[derive(Debug, Default)]
pub(super) struct ExternalIps {
    written: BTreeMap<(ServiceName, Watch), Vec<IpAddr>>,
    counted: BTreeMap<ServiceName, Vec<IpAddr>>,
}

impl ExternalIps {
    /// Sets the external IPs of a Service. Returns the Services whose counted addresses have changed, with these.
    pub(super) fn set(
        &mut self,
        name: &ServiceName,
        watch: Watch,
        addresses: &[IpAddr],
    ) -> Vec<(ServiceName, Vec<IpAddr>)> {
        if !self.write(name, watch, addresses) {
            return Vec::new();
        }
        self.count(name.namespace())
    }

    /// The complete list of a watch.
    pub(super) fn reset(
        &mut self,
        watch: Watch,
        listed: Vec<(ServiceName, Vec<IpAddr>)>,
    ) -> Vec<(ServiceName, Vec<IpAddr>)> {
        let known = self.written.keys().filter(|(_, of)| *of == watch);
        let mut namespaces: BTreeSet<String> = known.map(|(name, _)| name.namespace().to_owned()).collect();
        self.written.retain(|(_, of), _| *of != watch);
        for (name, addresses) in listed {
            if self.write(&name, watch, &addresses) {
                namespaces.insert(name.namespace().to_owned());
            }
        }
        namespaces.into_iter().flat_map(|namespace| self.count(&namespace)).collect()
    }

    /// Returns whether anything changed.
    fn write(&mut self, name: &ServiceName, watch: Watch, addresses: &[IpAddr]) -> bool {
        // Most Services have none.
        if self.written.is_empty() && addresses.is_empty() {
            return false;
        }
        let key = (name.clone(), watch);
        let known = self.written.get(&key).map(Vec::as_slice).unwrap_or_default();
        if known == addresses {
            return false;
        }
        if addresses.is_empty() {
            self.written.remove(&key);
        } else {
            self.written.insert(key, addresses.to_vec());
        }
        true
    }

    /// Counts the namespace again, by the names of its Services. Returns what has changed.
    fn count(&mut self, namespace: &str) -> Vec<(ServiceName, Vec<IpAddr>)> {
        let first = (ServiceName::new(namespace, ""), Watch::LoadBalancers);
        let (mut distinct, mut counts) = (BTreeSet::new(), BTreeMap::<ServiceName, Vec<IpAddr>>::new());
        let in_namespace =
            self.written.range(first.clone()..).take_while(|((name, _), _)| name.namespace() == namespace);
        for ((name, _), addresses) in in_namespace {
            for &address in addresses {
                if !distinct.contains(&address) && distinct.len() >= MOST_EXTERNAL_IPS {
                    continue;
                }
                distinct.insert(address);
                let counted = counts.entry(name.clone()).or_default();
                if !counted.contains(&address) {
                    counted.push(address);
                }
            }
        }
        let known = self.counted.range(first.0..).take_while(|(name, _)| name.namespace() == namespace);
        let gone: Vec<ServiceName> =
            known.map(|(name, _)| name.clone()).filter(|name| !counts.contains_key(name)).collect();
        let mut changed = Vec::new();
        for name in gone {
            self.counted.remove(&name);
            changed.push((name, Vec::new()));
        }
        for (name, addresses) in counts {
            if self.counted.get(&name) != Some(&addresses) {
                self.counted.insert(name.clone(), addresses.clone());
                changed.push((name, addresses));
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(numbers: std::ops::Range<u8>) -> Vec<IpAddr> {
        numbers.map(|number| IpAddr::from([192, 0, 2, number])).collect()
    }

    #[test]
    fn sixteen_count_for_a_namespace() {
        let mut ips = ExternalIps::default();
        let [a, b, other] =
            [("x", "a"), ("x", "b"), ("y", "a")].map(|(namespace, name)| ServiceName::new(namespace, name));
        assert_eq!(ips.set(&b, Watch::OtherTypes, &addresses(0..10)), [(b.clone(), addresses(0..10))]);
        // Of the later Service by name, fewer count now. What both have counts for both.
        let changed = ips.set(&a, Watch::OtherTypes, &addresses(8..20));
        assert_eq!(changed, [(a.clone(), addresses(8..20)), (b.clone(), [addresses(0..4), addresses(8..10)].concat())]);
        assert_eq!(ips.set(&other, Watch::LoadBalancers, &addresses(0..2)).len(), 1);
        assert!(ips.set(&other, Watch::LoadBalancers, &addresses(0..2)).is_empty());
        // It changes its type: the end in one watch does not hide it in the other.
        ips.set(&b, Watch::LoadBalancers, &addresses(0..10));
        assert!(ips.set(&b, Watch::OtherTypes, &[]).is_empty());
        assert_eq!(ips.reset(Watch::OtherTypes, Vec::new()), [(a, Vec::new()), (b, addresses(0..10))]);
    }
}
