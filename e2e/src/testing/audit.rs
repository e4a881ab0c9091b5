//! The rules about allocated addresses that hold in every cluster at every moment, checked on a list of Services.
//!
//! Pure: Services and groups in, violations out. Most rules are about one moment
//! ([`audit`]); that every Service is served that can be holds only when nothing is under way ([`audit_at_rest`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::Service;
use serde_json::Value;

/// What the rules need of a ServiceGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRanges {
    /// Its name.
    pub name: String,
    /// First and last address of each range.
    pub ranges: Vec<(IpAddr, IpAddr)>,
    /// Addresses in use by its status, IPv4 and IPv6.
    pub allocated: [i64; 2],
    /// Whether its condition `Ready` is true.
    pub ready: bool,
}

impl GroupRanges {
    /// Reads an object of kind ServiceGroup, v1 or v2. Ranges that are none are left out.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let kinds = ["local", "remote"].into_iter().filter_map(|kind| object.pointer("/spec")?.get(kind));
        let pools = kinds.flat_map(|kind| {
            let plural = ["v4pools", "v6pools"].into_iter().filter_map(|name| kind.get(name)?.as_array()).flatten();
            let single = ["v4pool", "v6pool"].into_iter().filter_map(|name| kind.get(name));
            plural.chain(single).chain([kind]).filter_map(|pool| pool.get("pool")?.as_str())
        });
        let count = |field: &str| object.pointer("/status").and_then(|status| status.get(field)?.as_i64()).unwrap_or(0);
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        let is = |condition: &Value, field: &str, value: &str| condition.get(field).is_some_and(|text| text == value);
        Self {
            name: object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned(),
            ranges: pools.filter_map(range).collect(),
            allocated: [count("allocatedIPv4"), count("allocatedIPv6")],
            ready: conditions.into_iter().flatten().any(|it| is(it, "type", "Ready") && is(it, "status", "True")),
        }
    }

    /// Whether one of its ranges has the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&address) && first.is_ipv4() == address.is_ipv4())
    }
}

fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Some((first, last)) = text.split_once('-') {
        return Some((first.trim().parse().ok()?, last.trim().parse().ok()?));
    }
    let network: IpNetwork = text.trim().parse().ok()?;
    let last = match network {
        IpNetwork::V4(network) => IpAddr::V4(network.broadcast()),
        IpNetwork::V6(network) => IpAddr::V6(network.broadcast()),
    };
    Some((network.ip(), last))
}

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// Two Services have an address that they may not share.
    HeldTwice {
        /// The address.
        address: IpAddr,
        /// Both, as `namespace/name`.
        services: [String; 2],
        /// What is missing.
        why: String,
    },
    /// A Service has an address twice, or two of a family although it asks for one.
    TooManyAddresses {
        /// The Service.
        service: String,
        /// All its addresses.
        addresses: Vec<IpAddr>,
    },
    /// Address and annotations do not match, as after half a write.
    Annotations {
        /// The Service.
        service: String,
        /// What is wrong.
        why: String,
    },
    /// An address lies in no range of the group that its Service names as its origin.
    OutsideRanges {
        /// The Service.
        service: String,
        /// The address.
        address: IpAddr,
        /// The group.
        group: String,
    },
    /// The counts in a group's status differ from the addresses of the Services.
    Miscounted {
        /// The group.
        group: String,
        /// IPv4 and IPv6, by its status.
        says: [i64; 2],
        /// IPv4 and IPv6, by the Services.
        are: [i64; 2],
    },
    /// A Service waits although its group has a free address.
    Waits {
        /// The Service.
        service: String,
        /// The group.
        group: String,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeldTwice { address, services: [one, two], why } => {
                write!(f, "{address} is held by {one} and by {two}: {why}")
            }
            Self::TooManyAddresses { service, addresses } => {
                write!(f, "{service} has too many addresses: {addresses:?}")
            }
            Self::Annotations { service, why } => write!(f, "{service}: {why}"),
            Self::OutsideRanges { service, address, group } => {
                write!(f, "{service}: {address} is not of group {group}")
            }
            Self::Miscounted { group, says, are } => write!(f, "group {group} counts {says:?}, but {are:?} are in use"),
            Self::Waits { service, group } => write!(f, "{service} waits, and {group} has a free address"),
        }
    }
}

/// A Service as the rules see it.
struct Audited<'a> {
    name: String,
    service: &'a Service,
    addresses: Vec<IpAddr>,
}

impl<'a> Audited<'a> {
    fn new(service: &'a Service) -> Self {
        let metadata = &service.metadata;
        let name = [&metadata.namespace, &metadata.name].map(|part| part.as_deref().unwrap_or_default()).join("/");
        Self { name, service, addresses: api_types::service::ingress_addresses(service) }
    }

    fn annotation(&self, key: &str) -> Option<&'a str> {
        let annotations = self.service.metadata.annotations.as_ref()?;
        annotations.get(&format!("purelb.io/{key}")).map(String::as_str)
    }

    fn key(&self) -> Option<&'a str> {
        self.annotation("allow-shared-ip").filter(|key| !key.is_empty())
    }

    fn ports(&self) -> BTreeSet<(&'a str, i32)> {
        let ports = self.service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        ports.map(|port| (port.protocol.as_deref().unwrap_or("TCP"), port.port)).collect()
    }

    fn wants_several(&self) -> bool {
        let pinned = self.service.spec.as_ref().is_some_and(|spec| spec.load_balancer_ip.is_some());
        pinned || self.annotation("addresses").is_some() || self.annotation("multi-pool") == Some("true")
    }

    fn is_balanced(&self) -> bool {
        let class = self.service.spec.as_ref().and_then(|spec| spec.load_balancer_class.as_deref());
        let kind = self.service.spec.as_ref().and_then(|spec| spec.type_.as_deref());
        kind == Some("LoadBalancer")
            && class.is_none_or(|class| ["purelb.io/purelb", "purelb.io/purelbv2"].contains(&class))
    }
}

/// Why two Services may not have one address.
fn why_not_share(one: &Audited<'_>, two: &Audited<'_>) -> Option<String> {
    match (one.key(), two.key()) {
        (Some(one), Some(two)) if one == two => {}
        keys => return Some(format!("sharing keys {keys:?}")),
    }
    let (one, two) = (one.ports(), two.ports());
    let both: Vec<_> = one.intersection(&two).collect();
    (!both.is_empty()).then(|| format!("both want {both:?}"))
}

/// What is wrong at this moment, whatever is under way. Groups that are not in `groups` are not checked.
#[must_use]
pub fn audit(services: &[Service], groups: &[GroupRanges]) -> Vec<Violation> {
    let holders: Vec<_> = services.iter().map(Audited::new).filter(Audited::is_balanced).collect();
    let mut broken = held_twice(&holders);
    for holder in &holders {
        broken.extend(torn(holder));
        broken.extend(outside(holder, groups));
        let distinct: BTreeSet<_> = holder.addresses.iter().collect();
        let most = if holder.wants_several() { usize::MAX } else { 2 };
        let families = [true, false].map(|v4| distinct.iter().filter(|address| address.is_ipv4() == v4).count());
        let too_many_of_one = !holder.wants_several() && families.into_iter().any(|count| count > 1);
        if distinct.len() < holder.addresses.len() || distinct.len() > most || too_many_of_one {
            broken.push(Violation::TooManyAddresses {
                service: holder.name.clone(),
                addresses: holder.addresses.clone(),
            });
        }
    }
    broken
}

/// What is wrong when nothing is under way: [`audit`], Services that wait for free addresses, and wrong counts of
/// groups.
#[must_use]
pub fn audit_at_rest(services: &[Service], groups: &[GroupRanges]) -> Vec<Violation> {
    let mut broken = audit(services, groups);
    let holders: Vec<_> = services.iter().map(Audited::new).filter(Audited::is_balanced).collect();
    let held: BTreeSet<IpAddr> = holders.iter().flat_map(|holder| holder.addresses.iter().copied()).collect();
    for group in groups.iter().filter(|group| group.ready) {
        let count = |v4: bool| held.iter().filter(|it| it.is_ipv4() == v4 && group.contains(**it)).count();
        let are = [true, false].map(|v4| i64::try_from(count(v4)).unwrap_or(i64::MAX));
        if are != group.allocated {
            broken.push(Violation::Miscounted { group: group.name.clone(), says: group.allocated, are });
        }
    }
    let empty = || holders.iter().filter(|holder| holder.addresses.is_empty());
    // It is so for a moment when the user changes the type and back: the API server removes the address, not the
    // annotation.
    for holder in empty().filter(|holder| holder.annotation("allocated-by").is_some()) {
        let why = "is marked as allocated and has no address".to_owned();
        broken.push(Violation::Annotations { service: holder.name.clone(), why });
    }
    for holder in empty().filter(|holder| holder.key().is_none()) {
        let wanted = holder.annotation("service-group").unwrap_or("default");
        let named = groups.iter().find(|group| group.name == wanted && group.ready && !holder.wants_several());
        let families = holder.service.spec.iter().flat_map(|spec| spec.ip_families.iter().flatten());
        let all_free = |group: &GroupRanges| families.clone().all(|family| has_free(group, &held, family == "IPv4"));
        if let Some(group) = named.filter(|group| all_free(group)) {
            broken.push(Violation::Waits { service: holder.name.clone(), group: group.name.clone() });
        }
    }
    broken
}

fn held_twice(holders: &[Audited<'_>]) -> Vec<Violation> {
    let mut by_address: BTreeMap<IpAddr, Vec<&Audited<'_>>> = BTreeMap::new();
    for holder in holders {
        for address in holder.addresses.iter().copied().collect::<BTreeSet<_>>() {
            by_address.entry(address).or_default().push(holder);
        }
    }
    let mut broken = Vec::new();
    for (address, holders) in by_address {
        for (place, one) in holders.iter().enumerate() {
            for two in holders.iter().skip(place + 1) {
                if let Some(why) = why_not_share(one, two) {
                    broken.push(Violation::HeldTwice { address, services: [one.name.clone(), two.name.clone()], why });
                }
            }
        }
    }
    broken
}

fn torn(holder: &Audited<'_>) -> Option<Violation> {
    let by = holder.annotation("allocated-by");
    let why = match (holder.addresses.is_empty(), by) {
        (false, None) => "has an address and no mark",
        (false, Some(_)) if holder.annotation("allocated-from").is_none() => "has an address from nowhere",
        (false, Some(_)) if !matches!(holder.annotation("pool-type"), Some("local" | "remote")) => "has no pool type",
        _ => return None,
    };
    Some(Violation::Annotations { service: holder.name.clone(), why: why.to_owned() })
}

fn outside(holder: &Audited<'_>, groups: &[GroupRanges]) -> Vec<Violation> {
    let from = holder.annotation("allocated-from").unwrap_or_default();
    let named: Vec<_> =
        from.split(',').filter_map(|name| groups.iter().find(|group| group.name == name.trim())).collect();
    // Addresses of a deleted group are not checked here.
    if named.is_empty() {
        return Vec::new();
    }
    let strays = holder.addresses.iter().filter(|address| !named.iter().any(|group| group.contains(**address)));
    strays
        .map(|&address| Violation::OutsideRanges { service: holder.name.clone(), address, group: from.to_owned() })
        .collect()
}

fn has_free(group: &GroupRanges, held: &BTreeSet<IpAddr>, v4: bool) -> bool {
    let ranges = group.ranges.iter().filter(|(first, _)| first.is_ipv4() == v4);
    let used = held.iter().filter(|address| address.is_ipv4() == v4 && group.contains(**address)).count();
    let sizes = ranges.map(|(first, last)| number(*last).saturating_sub(number(*first)).saturating_add(1));
    let size = sizes.fold(0_u128, u128::saturating_add);
    u128::try_from(used).is_ok_and(|used| used < size)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, key: &str, port: u16, addresses: &[&str]) -> Service {
        let ingress: Vec<_> = addresses.iter().map(|address| json!({"ip": address})).collect();
        let mut annotations = json!({"purelb.io/service-group": "g"});
        if !key.is_empty() {
            annotations["purelb.io/allow-shared-ip"] = json!(key);
        }
        if !addresses.is_empty() {
            annotations["purelb.io/allocated-by"] = json!("PureLB");
            annotations["purelb.io/allocated-from"] = json!("g");
            annotations["purelb.io/pool-type"] = json!("remote");
        }
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
            "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"], "ports": [{"port": port}]},
            "status": {"loadBalancer": {"ingress": ingress}},
        }))
        .unwrap()
    }

    fn group(pool: &str, allocated: i64) -> GroupRanges {
        GroupRanges::read(&json!({
            "metadata": {"name": "g"},
            "spec": {"remote": {"v4pool": {"pool": pool, "subnet": "192.0.2.0/24"}}},
            "status": {"allocatedIPv4": allocated, "allocatedIPv6": 0, "conditions": [{"type": "Ready", "status": "True"}]},
        }))
    }

    #[test]
    fn all_is_well() {
        let services = [service("a", "", 80, &["192.0.2.1"]), service("b", "", 80, &["192.0.2.2"])];
        assert_eq!(audit_at_rest(&services, &[group("192.0.2.0/24", 2)]), []);
        let shared = [service("a", "k", 80, &["192.0.2.1"]), service("b", "k", 81, &["192.0.2.1"])];
        assert_eq!(audit_at_rest(&shared, &[group("192.0.2.1-192.0.2.1", 1)]), []);
    }

    #[test]
    fn an_address_is_not_held_twice_without_the_right_to_share() {
        for (one, two, ports) in [("", "", (80, 81)), ("k", "", (80, 81)), ("k", "l", (80, 81)), ("k", "k", (80, 80))] {
            let services = [service("a", one, ports.0, &["192.0.2.1"]), service("b", two, ports.1, &["192.0.2.1"])];
            let broken = audit(&services, &[]);
            assert!(matches!(broken.as_slice(), [Violation::HeldTwice { .. }]), "{one:?} {two:?}: {broken:?}");
        }
    }

    #[test]
    fn a_torn_write_shows() {
        let mut bare = service("a", "", 80, &["192.0.2.1"]);
        bare.metadata.annotations = None;
        assert!(matches!(audit(&[bare], &[]).as_slice(), [Violation::Annotations { .. }]));
        let mut empty = service("a", "", 80, &["192.0.2.1"]);
        empty.status = None;
        assert!(matches!(audit_at_rest(&[empty], &[]).as_slice(), [Violation::Annotations { .. }]));
    }

    #[test]
    fn addresses_are_of_their_group_and_one_of_a_family() {
        let stray = [service("a", "", 80, &["198.51.100.1"])];
        assert!(matches!(audit(&stray, &[group("192.0.2.0/24", 0)]).as_slice(), [Violation::OutsideRanges { .. }]));
        let two = [service("a", "", 80, &["192.0.2.1", "192.0.2.2"])];
        assert!(matches!(audit(&two, &[]).as_slice(), [Violation::TooManyAddresses { .. }]));
    }

    #[test]
    fn nobody_waits_for_what_is_free() {
        let services = [service("a", "", 80, &["192.0.2.1"]), service("b", "", 80, &[])];
        assert_eq!(audit_at_rest(&services, &[group("192.0.2.1-192.0.2.1", 1)]), []);
        let broken = audit_at_rest(&services, &[group("192.0.2.1-192.0.2.2", 1)]);
        assert!(matches!(broken.as_slice(), [Violation::Waits { .. }]), "{broken:?}");
        let broken = audit_at_rest(&services, &[group("192.0.2.1-192.0.2.1", 2)]);
        assert!(matches!(broken.as_slice(), [Violation::Miscounted { .. }]), "{broken:?}");
    }
}
