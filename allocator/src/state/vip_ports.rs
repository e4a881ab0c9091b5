//! Ports that other Services of a namespace add to an address by listing it in `spec.externalIPs`. The agents let them in,
//! and learn of them by the annotation `vip-ports` of the Service that has the address.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::vip_ports::vip_ports_value;

use super::index::Index;
use crate::addresses::ReservedFor;
use crate::model::{Port, ServiceName};

impl Index {
    /// The value of the annotation of a Service with these addresses. Those of other namespaces open nothing.
    pub(super) fn vip_ports(&self, name: &ServiceName, addresses: &[IpAddr]) -> Option<String> {
        let mut all: BTreeSet<(IpAddr, Port)> = BTreeSet::new();
        for address in addresses {
            for reserved in self.addresses.reserved_for(*address) {
                let ReservedFor::ExternalIp(other) = reserved else { continue };
                if other.namespace() == name.namespace() && other != name {
                    all.extend(self.cluster.external_ips.ports(other).map(|port| (*address, port)));
                }
            }
        }
        vip_ports_value(all.into_iter().map(|(address, port)| (address, port.protocol.name(), port.number)))
    }

    /// Looks again at the Services of a namespace that have one of these addresses.
    pub(super) fn open_vip_ports(&mut self, namespace: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            for holder in self.addresses.holders(address).to_vec() {
                if holder.namespace() == namespace {
                    self.enqueue(&holder);
                }
            }
        }
    }
}
