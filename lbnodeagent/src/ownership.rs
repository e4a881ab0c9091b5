//! Who answers for a local address.
//!
//! The simple rule: among the live members of the address's subnet, the order of hashes decides
//! (specification, announcing.md 5). Everything else asks through [`decide`]; a protocol between
//! the agents replaces the rule behind it and keeps the order as its advice.

use std::collections::BTreeSet;
use std::net::IpAddr;

use runtime::BootTime;
use sha2::{Digest, Sha256};

use crate::members::Members;

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This node.
    Me,
    /// Another node.
    Other(String),
    /// No live member is in the address's subnet.
    Nobody,
    /// Not known now: keep what there is, begin nothing.
    Unknown,
}

/// Limits on who may own an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Qualified<'a> {
    /// Everybody.
    All,
    /// These, if any candidate is among them, else everybody.
    Preferred(BTreeSet<&'a str>),
    /// Only these.
    Only(BTreeSet<&'a str>),
}

/// Decides for one address.
#[must_use]
pub fn decide(members: &Members, address: IpAddr, qualified: &Qualified<'_>, now: BootTime) -> Owner {
    if !members.is_current(now) {
        return Owner::Unknown;
    }
    let mut candidates: Vec<&str> = members.candidates(address, now).collect();
    if candidates.is_empty() {
        return Owner::Nobody;
    }
    match qualified {
        Qualified::All => {}
        Qualified::Preferred(nodes) => {
            if candidates.iter().any(|node| nodes.contains(node)) {
                candidates.retain(|node| nodes.contains(node));
            }
        }
        Qualified::Only(nodes) => candidates.retain(|node| nodes.contains(node)),
    }
    match first_choice(candidates, address) {
        Some(node) if node == members.node() => Owner::Me,
        Some(node) => Owner::Other(node.to_owned()),
        // The subnet has members, none of which has an endpoint: the present owner stays.
        None => Owner::Unknown,
    }
}

/// Whether there are preferred nodes, none of which is a candidate.
#[must_use]
pub fn falls_back(members: &Members, address: IpAddr, qualified: &Qualified<'_>, now: BootTime) -> bool {
    let Qualified::Preferred(nodes) = qualified else { return false };
    !nodes.is_empty() && !members.candidates(address, now).any(|node| nodes.contains(node))
}

/// The candidate with the smallest SHA-256 of `node#address`, compared as bytes.
#[must_use]
pub fn first_choice<'a>(candidates: impl IntoIterator<Item = &'a str>, address: IpAddr) -> Option<&'a str> {
    candidates.into_iter().min_by_key(|node| rank(node, address))
}

fn rank(node: &str, address: IpAddr) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(node);
    hash.update("#");
    // The canonical text: RFC 5952 for IPv6.
    hash.update(address.to_string());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::testing::{at, lease, wall};

    fn members() -> Members {
        let mut members = Members::new("node-a");
        members.set_own_subnets(vec!["192.0.2.0/24".parse().unwrap()], at(0));
        members.own_renewal(at(0));
        for node in ["node-b", "node-c"] {
            members.apply(lease(node, &["192.0.2.0/24"], 1000), at(0), wall(1000));
        }
        members
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_order_is_the_contracts() {
        // As computed by sha256sum over "node-c#192.0.2.10" and so on.
        assert_eq!(first_choice(["node-a", "node-b", "node-c"], ip(10)), Some("node-c"));
    }

    #[test]
    fn all_nodes_agree_and_the_load_is_spread() {
        let members = members();
        let mine = (0..=255).filter(|last| decide(&members, ip(*last), &Qualified::All, at(1)) == Owner::Me).count();
        assert!((40..130).contains(&mine), "{mine}");
    }

    #[test]
    fn nobody_in_the_subnet_is_nobody() {
        let elsewhere = "198.51.100.1".parse().unwrap();
        assert_eq!(decide(&members(), elsewhere, &Qualified::All, at(1)), Owner::Nobody);
    }

    #[test]
    fn without_a_current_picture_nothing_is_decided() {
        assert_eq!(decide(&members(), ip(1), &Qualified::All, at(6)), Owner::Unknown);
    }

    #[test]
    fn qualification() {
        let members = members();
        let only = |nodes: &[&'static str]| Qualified::Only(nodes.iter().copied().collect());
        let preferred = |nodes: &[&'static str]| Qualified::Preferred(nodes.iter().copied().collect());
        assert_eq!(decide(&members, ip(1), &only(&["node-a"]), at(1)), Owner::Me);
        assert_eq!(decide(&members, ip(1), &only(&["node-b"]), at(1)), Owner::Other("node-b".to_owned()));
        assert_eq!(decide(&members, ip(1), &only(&[]), at(1)), Owner::Unknown);
        assert_eq!(decide(&members, ip(1), &preferred(&["node-c"]), at(1)), Owner::Other("node-c".to_owned()));
        assert_eq!(
            decide(&members, ip(1), &preferred(&["gone"]), at(1)),
            decide(&members, ip(1), &Qualified::All, at(1))
        );
        let falls_back = |qualified| falls_back(&members, ip(1), &qualified, at(1));
        assert!(falls_back(preferred(&["gone"])) && !falls_back(preferred(&["node-c", "gone"])));
        assert!(!falls_back(preferred(&[])) && !falls_back(only(&["gone"])));
    }
}
