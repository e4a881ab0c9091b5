//! An address of ours that the kernel gives to the node's own packets as their source.
//!
//! Answers to such packets go to whichever node announces the address. IPv6 addresses of ours are deprecated, so the
//! kernel takes one only if the node has no other. An IPv4 address of the dummy interface is taken if the interface of the
//! default route has none, and the interface that has the node's address was made later: the kernel then takes the first
//! address of the first interface (`inet_select_addr`).

use std::net::IpAddr;

use crate::decide::networks::own_addresses;
use crate::model::observed::Observed;
use crate::model::ours::Ours;

/// What is wrong and what mends it, if the source is ours.
#[must_use]
pub fn problem(observed: &Observed, ours: Ours<'_>, dummy: Option<u32>, source: IpAddr) -> Option<String> {
    let (key, _) = observed.of(source).find(|(key, found)| ours.includes(key, found))?;
    let interface = observed.name_of(key.index);
    let wrong = format!(
        "the kernel gives {source} of {interface}, an address of a Service, to this node's own packets as their source, so the answers may go to other nodes"
    );
    let same_family = |ip: IpAddr| ip.is_ipv4() == source.is_ipv4();
    let indices = observed.links.keys().filter(|index| Some(**index) != dummy);
    let own =
        indices.flat_map(|index| own_addresses(observed, *index, ours)).map(|own| own.ip).find(|ip| same_family(*ip));
    let mend = match own {
        Some(own) if Some(key.index) == dummy && source.is_ipv4() => format!(
            "name the node's own address in the default route (`src {own}`), or delete {interface} once (`ip link del {interface}`): the agent makes it again, as the last interface"
        ),
        Some(own) => format!("name the node's own address in the default route (`src {own}`)"),
        None => "give the node an address of its own of this family".to_owned(),
    };
    Some(format!("{wrong}: {mend}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::observed::Change;
    use crate::model::testing::{key, node, ours};

    fn text(observed: &Observed, source: &str) -> Option<String> {
        problem(observed, Ours::new(&BTreeSet::new(), true), Some(3), source.parse().unwrap())
    }

    #[test]
    fn case_87_an_address_of_ours_as_the_source_is_reported_with_what_mends_it() {
        let mut observed = node();
        assert_eq!(text(&observed, "192.168.50.11"), None);
        observed.apply(Change::Address(key(3, "192.0.2.1/32"), ours()));
        let of_dummy = text(&observed, "192.0.2.1").unwrap();
        assert!(of_dummy.contains("192.0.2.1 of kube-lb0") && of_dummy.contains("`src 192.168.50.11`"), "{of_dummy}");
        assert!(of_dummy.contains("`ip link del kube-lb0`"), "{of_dummy}");
        observed.apply(Change::Address(key(2, "192.168.50.200/24"), ours()));
        let local = text(&observed, "192.168.50.200").unwrap();
        assert!(local.contains("`src 192.168.50.11`") && !local.contains("link del"), "{local}");
        observed.apply(Change::Address(key(3, "2001:db8::1/128"), ours()));
        observed.apply(Change::NoAddress(key(2, "fd00:50::11/64")));
        assert!(
            text(&observed, "2001:db8::1").unwrap().ends_with("give the node an address of its own of this family")
        );
    }
}
