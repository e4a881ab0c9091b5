//! The interfaces for local addresses that a node uses by default: those that carry its internal addresses, and those of
//! its default routes.
//!
//! What was found last is remembered, also in a file. It counts while there is nothing to
//! find: the API server or the kubelet does not name the node's addresses, or a DHCP client replaces the default route.

use std::fmt::Write as _;
use std::net::IpAddr;

use api_types::Family;

use crate::model::address::{AddressKey, KernelAddress};
use crate::model::link::{DefaultRoute, Link};
use crate::model::observed::Observed;
use crate::model::ours::Ours;

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// Why an interface belongs to the default choice, in order of preference.
const SIGNS: [(&str, Family, Sign); 4] = [
    ("address-v4", Family::V4, Sign::Internal),
    ("address-v6", Family::V6, Sign::Internal),
    ("route-v4", Family::V4, Sign::Route),
    ("route-v6", Family::V6, Sign::Route),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    /// It carries an internal address of the node.
    Internal,
    /// The default route leads through it.
    Route,
}

/// The names of the interfaces by each of the [`SIGNS`], as last found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DefaultInterfaces([Vec<String>; 4]);

impl DefaultInterfaces {
    /// Finds them anew. What is not found stays as it was.
    ///
    /// `internal` are the node's internal addresses in their order, `eligible` says which interfaces may be chosen.
    #[must_use]
    pub fn refreshed(
        &self,
        observed: &Observed,
        ours: Ours<'_>,
        internal: &[IpAddr],
        eligible: impl Fn(&Link) -> bool,
    ) -> Self {
        let mut refreshed = self.clone();
        for (known, (_, family, sign)) in refreshed.0.iter_mut().zip(SIGNS) {
            let found = match sign {
                Sign::Internal => {
                    let of_family = internal.iter().filter(|ip| Family::of(**ip) == family);
                    distinct(of_family.flat_map(|ip| carriers(observed, ours, *ip, &eligible)))
                }
                Sign::Route => distinct(through_default_route(observed, family, &eligible).into_iter()),
            };
            if !found.is_empty() {
                *known = found;
            }
        }
        refreshed
    }

    /// The names, the preferred one first; an interface may come twice.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(String::as_str)
    }

    /// As text: a line for each sign and interface.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (names, (sign, _, _)) in self.0.iter().zip(SIGNS) {
            for name in names {
                let _ = writeln!(text, "{sign} {name}");
            }
        }
        text
    }

    /// From text. Lines that cannot be understood are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for (sign, name) in text.lines().filter_map(|line| line.split_once(' ')) {
            for (names, (known, _, _)) in parsed.0.iter_mut().zip(SIGNS) {
                if sign == known {
                    names.push(name.to_owned());
                }
            }
        }
        parsed
    }
}

fn distinct<'a>(links: impl Iterator<Item = &'a Link>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for link in links {
        if !names.contains(&link.name) {
            names.push(link.name.clone());
        }
    }
    names
}

/// The interfaces that carry an address which is not ours. On one without ARP nobody asks for an address.
fn carriers<'a>(
    observed: &'a Observed,
    ours: Ours<'a>,
    ip: IpAddr,
    eligible: &impl Fn(&Link) -> bool,
) -> impl Iterator<Item = &'a Link> {
    let foreign = move |(key, found): &(&AddressKey, &KernelAddress)| !ours.includes(key, found);
    let links = observed.of(ip).filter(foreign).filter_map(|(key, _)| observed.links.get(&key.index));
    links.filter(move |link| eligible(link) && link.resolves && !link.loopback)
}

/// The interfaces of a family's best default route among those with a usable interface: of each of its next hops.
///
/// Routes of the table `main` come before those of VRFs and of policy routing; among them the lowest metric is
/// preferred. A route through an interface without ARP comes last in any case: it leads into a VRF (through the
/// VRF's own device) or a tunnel, where nobody asks for an address.
fn through_default_route<'a>(
    observed: &'a Observed,
    family: Family,
    eligible: &impl Fn(&Link) -> bool,
) -> Vec<&'a Link> {
    let routes = observed.routes.iter().filter(|route| route.family == family);
    let usable = routes.filter_map(|route| {
        let link = observed.links.get(&route.index).filter(|link| eligible(link))?;
        Some((route, link))
    });
    let usable: Vec<(&DefaultRoute, &Link)> = usable.collect();
    let rank =
        |(route, link): &(&DefaultRoute, &Link)| (!link.resolves, route.table != MAIN, route.metric, route.table);
    let best = usable.iter().map(rank).min();
    usable.into_iter().filter(|candidate| Some(rank(candidate)) == best).map(|(_, link)| link).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::observed::Change;
    use crate::model::testing::{key, node, ours, plain};

    fn refreshed(before: &DefaultInterfaces, observed: &Observed, internal: &[&str]) -> DefaultInterfaces {
        let internal: Vec<IpAddr> = internal.iter().map(|ip| ip.parse().unwrap()).collect();
        let none = BTreeSet::new();
        before.refreshed(observed, Ours::new(&none, true), &internal, |link| link.up && link.name != "kube-lb0")
    }

    fn names(chosen: &DefaultInterfaces) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in chosen.names() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    #[test]
    fn case_9_internal_addresses_come_before_default_routes() {
        let observed = node();
        assert_eq!(names(&refreshed(&DefaultInterfaces::default(), &observed, &[])), ["eth0"]);
        assert_eq!(names(&refreshed(&DefaultInterfaces::default(), &observed, &["10.1.0.11"])), ["eth1", "eth0"]);
        let mut without = observed;
        without.routes.clear();
        assert_eq!(names(&refreshed(&DefaultInterfaces::default(), &without, &["fd00:50::11"])), ["eth0"]);
        assert!(names(&refreshed(&DefaultInterfaces::default(), &without, &[])).is_empty());
    }

    #[test]
    fn case_9_what_was_found_holds_without_routes_and_without_the_api() {
        let mut observed = node();
        let before = refreshed(&DefaultInterfaces::default(), &observed, &["10.1.0.11"]);
        observed.routes.clear();
        assert_eq!(refreshed(&before, &observed, &[]), before);
        assert_eq!(DefaultInterfaces::parse(&before.text()), before);
        assert_eq!(before.text(), "address-v4 eth1\nroute-v4 eth0\nroute-v6 eth0\n");
        assert_eq!(DefaultInterfaces::parse("nonsense\nroute-v9 eth7\n"), DefaultInterfaces::default());
    }

    #[test]
    fn internal_addresses_on_the_dummy_interface_on_lo_and_from_us_choose_nothing() {
        let mut observed = node();
        observed.routes.clear();
        observed.apply(Change::Address(key(3, "172.30.200.1/32"), plain()));
        observed.apply(Change::Address(key(1, "10.255.0.1/32"), plain()));
        observed.apply(Change::Address(key(4, "10.1.0.200/24"), ours()));
        let internal = ["172.30.200.1", "10.255.0.1", "10.1.0.200"];
        assert!(names(&refreshed(&DefaultInterfaces::default(), &observed, &internal)).is_empty());
    }

    #[test]
    fn every_next_hop_of_the_default_route_counts() {
        let mut observed = node();
        let hop =
            |index| DefaultRoute { family: Family::V6, metric: 100, table: MAIN, index, gateway: None, source: None };
        observed.apply(Change::Route(hop(4)));
        assert_eq!(names(&refreshed(&DefaultInterfaces::default(), &observed, &[])), ["eth0", "eth1"]);
    }
}
