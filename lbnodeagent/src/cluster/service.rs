//! The part of a Service that matters here.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use api_types::names::{RESERVED_SERVICES, SERVICE_PROXY_LABEL, annotation};
use api_types::provenance::all_addresses;
use api_types::service::{self, Class, ingress_addresses};
use api_types::vip_ports::{self, VipPort};
use api_types::{Announce, Family, Provenance};
use k8s_openapi::api::core::v1::Service;
use sha2::{Digest, Sha256};

use crate::cluster::ports::{ServicePort, ports};
use crate::model::port::{Opening, Port, Protocol};

/// The namespace and name of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ServiceName {
    /// From the two parts.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl ServiceName {
    /// Whether Services of this name are never served.
    fn is_reserved(&self) -> bool {
        RESERVED_SERVICES.contains(&(&*self.namespace, &*self.name))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One entry of an announcing annotation, `node,interface,ip`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnouncingEntry<'a> {
    /// The node that announces the address.
    pub node: &'a str,
    /// The interface on which it does. Names of interfaces may contain commas.
    pub interface: &'a str,
    /// The address.
    pub ip: IpAddr,
}

impl<'a> AnnouncingEntry<'a> {
    /// Reads an entry; nothing if the text is none.
    #[must_use]
    pub fn parse(entry: &'a str) -> Option<Self> {
        let (node, rest) = entry.split_once(',')?;
        let (interface, ip) = rest.rsplit_once(',')?;
        let ip = ip.parse().ok()?;
        (!node.is_empty() && !interface.is_empty()).then_some(Self { node, interface, ip })
    }
}

/// The part of a Service that decides about its addresses: a few hundred bytes.
#[allow(clippy::struct_excessive_bools, reason = "they are independent settings of the Service")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Namespace and name.
    pub name: ServiceName,
    /// Its UID, which distinguishes it from an earlier Service of the same name.
    pub uid: Box<str>,
    /// The version that was read, as the precondition of our writes.
    pub resource_version: Box<str>,
    /// The addresses in its status, and after them those that only `allocated-addresses` lists. It has none if it is of
    /// another type or class, or is being deleted.
    pub addresses: Vec<IpAddr>,
    /// How many of the addresses are in its status.
    pub in_status: usize,
    /// What it says of addresses that we gave it.
    pub provenance: Provenance,
    /// Whether it is ours by its class. Otherwise it has no class, we are not the default announcer, and only what was
    /// given by us is ours.
    pub our_class: bool,
    /// The groups in `allocated-from`, as written.
    pub allocated_from: Option<Box<str>>,
    /// The kind of its group when the addresses were allocated.
    pub pool_type: Option<Announce>,
    /// `externalTrafficPolicy: Local`.
    pub traffic_local: bool,
    /// The annotation `node-affinity: service-endpoints`, which has no effect on shared addresses.
    pub node_affinity: bool,
    /// A hash of the annotation `rebalance`, the same on all nodes; 0 without the annotation.
    pub rebalance: u64,
    /// The group says `skipIPv6DAD`: IPv6 addresses are used without a probe.
    pub skip_dad: bool,
    /// Its ports; none if it has no addresses.
    pub ports: Box<[ServicePort]>,
    /// Ports of other Services of its namespace that list one of its addresses in `externalIPs`.
    pub vip_ports: Box<[Opening]>,
    /// Another proxy than kube-proxy serves it: the label `service.kubernetes.io/service-proxy-name`.
    pub other_proxy: bool,
    /// The annotation `vip-guard: Disabled`.
    pub guard_disabled: bool,
    /// The announcing annotations, IPv4 and IPv6.
    pub announcing: [Option<Box<str>>; 2],
}

impl ServiceView {
    /// Reads a Service; `default_announcer` says whether those without a class are ours.
    #[must_use]
    pub fn new(object: &Service, default_announcer: bool) -> Self {
        let metadata = &object.metadata;
        let spec = object.spec.as_ref();
        let name = ServiceName::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        );
        let class_name = spec.and_then(|spec| spec.load_balancer_class.as_deref());
        let released = service::is_released(object);
        let class = Class::of(&name.namespace, &name.name, class_name, default_announcer, released);
        let provenance = Provenance::of(object);
        let load_balancer = spec.and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
        // Whoever has no class may have been served before somebody else became the default announcer.
        let may_be_ours = class == Class::Unassigned && class_name.is_none() && !name.is_reserved();
        let served = class == Class::Ours || may_be_ours;
        let announced = load_balancer && served && metadata.deletion_timestamp.is_none();
        let addresses = if announced { all_addresses(object, &provenance) } else { Vec::new() };
        let status = ingress_addresses(object);
        let text = |value: Option<&str>| value.map(Box::from);
        Self {
            in_status: addresses.iter().filter(|address| status.contains(address)).count(),
            provenance,
            our_class: class == Class::Ours,
            allocated_from: text(service::annotation(object, annotation::ALLOCATED_FROM)),
            name,
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            addresses,
            pool_type: service::annotation(object, annotation::POOL_TYPE).and_then(Announce::from_pool_type),
            traffic_local: spec.and_then(|spec| spec.external_traffic_policy.as_deref()) == Some("Local"),
            node_affinity: service::annotation(object, annotation::NODE_AFFINITY) == Some("service-endpoints")
                && service::sharing_key(object).is_none(),
            rebalance: service::annotation(object, annotation::REBALANCE).map_or(0, rebalance),
            skip_dad: service::annotation(object, annotation::SKIP_IPV6_DAD) == Some("true"),
            ports: if announced { ports(spec) } else { Box::default() },
            vip_ports: service::annotation(object, annotation::VIP_PORTS).map(vip_ports).unwrap_or_default(),
            other_proxy: metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(SERVICE_PROXY_LABEL)),
            guard_disabled: service::annotation(object, annotation::VIP_GUARD) == Some("Disabled"),
            announcing: [annotation::ANNOUNCING_IPV4, annotation::ANNOUNCING_IPV6]
                .map(|key| text(service::annotation(object, key))),
        }
    }

    /// The announcing annotation of a family.
    #[must_use]
    pub fn announcing(&self, family: Family) -> Option<&str> {
        let [v4, v6] = &self.announcing;
        match family {
            Family::V4 => v4.as_deref(),
            Family::V6 => v6.as_deref(),
        }
    }

    /// Whether the status has the address.
    #[must_use]
    pub fn status_has(&self, address: IpAddr) -> bool {
        self.addresses.iter().take(self.in_status).any(|known| *known == address)
    }

    /// The groups in `allocated-from`.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.allocated_from.iter().flat_map(|groups| groups.split(',')).map(str::trim)
    }

    /// The node that announces the address, as the announcing annotation has it.
    #[must_use]
    pub fn announcer(&self, address: IpAddr) -> Option<&str> {
        let entries = self.announcing(Family::of(address))?.split_whitespace().filter_map(AnnouncingEntry::parse);
        entries.filter(|entry| entry.ip == address).map(|entry| entry.node).next()
    }

    /// The kind of the address when it was allocated. `pool-type` is that of the first address, and of all if they come
    /// from one group (specification, allocation.md 8).
    #[must_use]
    pub fn kind_of(&self, address: IpAddr) -> Option<Announce> {
        let first = self.provenance.list.as_ref().unwrap_or(&self.addresses).first();
        let one_group = self.allocated_from.as_deref().is_none_or(|groups| !groups.contains(','));
        self.pool_type.filter(|_| one_group || first == Some(&address))
    }

    /// Whether its endpoints matter.
    #[must_use]
    pub const fn needs_endpoints(&self) -> bool {
        self.traffic_local || self.node_affinity
    }
}

fn vip_ports(text: &str) -> Box<[Opening]> {
    let opening = |(ip, protocol, number): VipPort<'_>| {
        Some(Opening { ip, port: Port { protocol: Protocol::named(protocol)?, number } })
    };
    vip_ports::vip_ports(text).filter_map(opening).collect()
}

/// The first bytes of a SHA-256, because agents of different builds must agree. Never 0, which means that there is
/// no annotation.
fn rebalance(value: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(value).into();
    hash.first_chunk::<8>().map_or(1, |first| u64::from_be_bytes(*first).max(1))
}

#[cfg(test)]
pub(crate) mod testing {
    //! Services for tests.

    use serde_json::json;

    use super::*;

    /// A Service `shop/NAME` with these addresses.
    pub fn view(name: &str, addresses: &[&str], pool_type: Option<&str>) -> ServiceView {
        let ingress: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        let object = serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1",
                "annotations": {
                    "purelb.io/allocated-by": "PureLB", "purelb.io/pool-type": pool_type.unwrap_or("none"),
                    "purelb.io/allocated-addresses": addresses.join(","), "purelb.io/allocated-to": name
                }},
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": ingress}}
        }));
        ServiceView::new(&object.unwrap(), true)
    }

    /// The Service `shop/a` with the address 192.0.2.1 and this annotation.
    pub fn annotated(key: &str, value: &str) -> ServiceView {
        let object = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "shop", "uid": "a", "resourceVersion": "1",
                "annotations": {"purelb.io/allocated-by": "PureLB", key: value}},
            "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        }));
        ServiceView::new(&object.unwrap(), true)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::testing::{annotated, view};
    use super::*;

    fn read(metadata: &Value, class: Option<&str>, default_announcer: bool) -> ServiceView {
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "shop", "uid": "1"},
            "spec": {"type": "LoadBalancer", "loadBalancerClass": class},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        });
        for (key, value) in metadata.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        ServiceView::new(&serde_json::from_value(object).unwrap(), default_announcer)
    }

    #[test]
    fn addresses_of_the_status_come_before_those_that_only_the_list_has() {
        let listed = read(
            &json!({"annotations": {"purelb.io/allocated-addresses": "192.0.2.2,192.0.2.1", "purelb.io/allocated-to": "1"}}),
            None,
            true,
        );
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!((listed.addresses.as_slice(), listed.in_status), ([one, two].as_slice(), 1));
        assert!(listed.status_has(one) && !listed.status_has(two));
    }

    #[test]
    fn case_21_a_service_that_is_being_deleted_has_no_addresses() {
        assert!(read(&json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}), None, true).addresses.is_empty());
    }

    #[test]
    fn case_72_a_service_without_a_class_is_looked_at_and_one_of_another_class_is_not() {
        let view = read(&json!({}), None, false);
        assert!(!view.addresses.is_empty() && !view.our_class);
        assert!(read(&json!({}), Some("example.com/other"), true).addresses.is_empty());
        assert!(read(&json!({"namespace": "default", "name": "kubernetes"}), None, false).addresses.is_empty());
    }

    #[test]
    fn the_announcer_of_an_address_is_found_among_others() {
        let view = annotated(annotation::ANNOUNCING_IPV4, "a,eth,1,192.0.2.9 n,eth0 b,eth0,192.0.2.1");
        assert_eq!(view.announcer("192.0.2.1".parse().unwrap()), Some("b"));
        assert_eq!(view.announcer("192.0.2.9".parse().unwrap()), Some("a"));
        assert_eq!(view.announcer("192.0.2.7".parse().unwrap()), None);
    }

    #[test]
    fn harmful_addresses_are_left_out() {
        let view = view("a", &["127.0.0.1", "0.0.0.0", "fe80::1", "224.0.0.1", "::ffff:192.0.2.1", "192.0.2.1"], None);
        assert_eq!(view.addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn annotations_of_the_link() {
        assert_eq!((annotated("none", "").rebalance, annotated("none", "").skip_dad), (0, false));
        // As sha256sum says of "now"; all nodes must agree, whatever they were built from.
        assert_eq!(annotated("purelb.io/rebalance", "now").rebalance, 0xed5e_b9a3_7e2d_8231);
        assert_ne!(annotated("purelb.io/rebalance", "").rebalance, 0);
        assert!(annotated("purelb.io/skip-ipv6-dad", "true").skip_dad);
        assert!(!annotated("purelb.io/skip-ipv6-dad", "false").skip_dad);
    }
}
