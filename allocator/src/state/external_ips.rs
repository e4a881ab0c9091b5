//! `spec.externalIPs` of all Services, and which of them count.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{self, MOST_EXTERNAL_IPS, Port, ServiceName};

/// The watch that shows a Service: a Service that changes its type leaves one watch and enters the other, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watch {
    LoadBalancers,
    OtherTypes,
}

/// The external IPs of all Services.
#[derive(Debug, Default)]
pub(super) struct ExternalIps {
    written: BTreeMap<(ServiceName, Watch), model::ExternalIps>,
    counted: BTreeMap<ServiceName, Counted>,
}

/// What counts of a Service: of one that changes its type, what both watches show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Counted {
    addresses: Vec<IpAddr>,
    ports: BTreeSet<Port>,
}

impl ExternalIps {
    /// The ports that a Service has on its external IPs.
    pub(super) fn ports(&self, name: &ServiceName) -> impl Iterator<Item = Port> {
        self.counted.get(name).into_iter().flat_map(|counted| counted.ports.iter().copied())
    }

    /// Sets the external IPs of a Service. Returns the Services whose counted addresses or ports have changed, with the
    /// addresses.
    pub(super) fn set(
        &mut self,
        name: &ServiceName,
        watch: Watch,
        ips: model::ExternalIps,
    ) -> Vec<(ServiceName, Vec<IpAddr>)> {
        if !self.write(name, watch, ips) {
            return Vec::new();
        }
        self.count(name.namespace())
    }

    /// The complete list of a watch.
    pub(super) fn reset(
        &mut self,
        watch: Watch,
        listed: Vec<(ServiceName, model::ExternalIps)>,
    ) -> Vec<(ServiceName, Vec<IpAddr>)> {
        let known = self.written.keys().filter(|(_, of)| *of == watch);
        let mut namespaces: BTreeSet<String> = known.map(|(name, _)| name.namespace().to_owned()).collect();
        self.written.retain(|(_, of), _| *of != watch);
        for (name, ips) in listed {
            if self.write(&name, watch, ips) {
                namespaces.insert(name.namespace().to_owned());
            }
        }
        namespaces.into_iter().flat_map(|namespace| self.count(&namespace)).collect()
    }

    /// Returns whether anything changed.
    fn write(&mut self, name: &ServiceName, watch: Watch, ips: model::ExternalIps) -> bool {
        // Most Services have none.
        if self.written.is_empty() && ips.addresses.is_empty() {
            return false;
        }
        let key = (name.clone(), watch);
        if ips.addresses.is_empty() {
            return self.written.remove(&key).is_some();
        }
        let news = self.written.get(&key) != Some(&ips);
        self.written.insert(key, ips);
        news
    }

    /// Counts the namespace again, by the names of its Services. Returns what has changed.
    fn count(&mut self, namespace: &str) -> Vec<(ServiceName, Vec<IpAddr>)> {
        let first = (ServiceName::new(namespace, ""), Watch::LoadBalancers);
        let (mut distinct, mut counts) = (BTreeSet::new(), BTreeMap::<ServiceName, Counted>::new());
        let in_namespace =
            self.written.range(first.clone()..).take_while(|((name, _), _)| name.namespace() == namespace);
        for ((name, _), ips) in in_namespace {
            for &address in &ips.addresses {
                if !distinct.contains(&address) && distinct.len() >= MOST_EXTERNAL_IPS {
                    continue;
                }
                distinct.insert(address);
                let counted = counts.entry(name.clone()).or_default();
                counted.ports.extend(&ips.ports);
                if !counted.addresses.contains(&address) {
                    counted.addresses.push(address);
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
        for (name, counts) in counts {
            if self.counted.get(&name) != Some(&counts) {
                changed.push((name.clone(), counts.addresses.clone()));
                self.counted.insert(name, counts);
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

    fn ips(numbers: std::ops::Range<u8>) -> model::ExternalIps {
        model::ExternalIps { addresses: addresses(numbers), ports: Box::default() }
    }

    #[test]
    fn sixteen_count_for_a_namespace() {
        let mut all = ExternalIps::default();
        let [a, b, other] =
            [("x", "a"), ("x", "b"), ("y", "a")].map(|(namespace, name)| ServiceName::new(namespace, name));
        assert_eq!(all.set(&b, Watch::OtherTypes, ips(0..10)), [(b.clone(), addresses(0..10))]);
        // Of the later Service by name, fewer count now. What both have counts for both.
        let changed = all.set(&a, Watch::OtherTypes, ips(8..20));
        assert_eq!(changed, [(a.clone(), addresses(8..20)), (b.clone(), [addresses(0..4), addresses(8..10)].concat())]);
        assert_eq!(all.set(&other, Watch::LoadBalancers, ips(0..2)).len(), 1);
        assert!(all.set(&other, Watch::LoadBalancers, ips(0..2)).is_empty());
        // It changes its type: the end in one watch does not hide it in the other.
        all.set(&b, Watch::LoadBalancers, ips(0..10));
        assert!(all.set(&b, Watch::OtherTypes, ips(0..0)).is_empty());
        assert_eq!(all.reset(Watch::OtherTypes, Vec::new()), [(a, Vec::new()), (b, addresses(0..10))]);
    }
}
