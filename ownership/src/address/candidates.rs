//! Who should own an address. This is advice: the present owner keeps it while it may, and every claim asks the link
//! first.

use std::net::IpAddr;

use crate::model::node::NodeId;
use crate::model::order::{self, Order};
use crate::model::spec::Qualified;

/// A node that has an own address in the subnet of the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// Its name.
    pub node: NodeId,
    /// Whether it lives, is selected, does not leave, and is not silent on the link.
    pub able: bool,
    /// Whether its watches of the API are behind.
    pub stale: bool,
    /// Whether it carries the exclusion label.
    pub excluded: bool,
}

/// The candidates in order, and whether exclusion had to be ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidates {
    /// The first is the first choice.
    pub nodes: Vec<NodeId>,
    /// Every able node is excluded, so the label counts for nothing here.
    pub exclusion_ignored: bool,
}

impl Candidates {
    /// Chooses among the contenders.
    #[must_use]
    pub fn new(contenders: Vec<Contender>, qualified: &Qualified, address: IpAddr) -> Self {
        let mut candidates = Self::unordered(contenders, qualified);
        order::sort(&mut candidates.nodes, &address);
        candidates
    }

    fn unordered(contenders: Vec<Contender>, qualified: &Qualified) -> Self {
        let mut able: Vec<_> = contenders.into_iter().filter(|contender| contender.able).collect();
        // While the API server is down all are behind, and what is known still counts.
        let current = able.iter().any(|contender| !contender.stale);
        able.retain(|contender| !(current && contender.stale));
        let exclusion_ignored = !able.is_empty() && able.iter().all(|contender| contender.excluded);
        able.retain(|contender| exclusion_ignored || !contender.excluded);
        let mut nodes: Vec<NodeId> = able.into_iter().map(|contender| contender.node).collect();
        match qualified {
            Qualified::All => {}
            Qualified::Preferred(set) => {
                if nodes.iter().any(|node| set.contains(node)) {
                    nodes.retain(|node| set.contains(node));
                }
            }
            Qualified::Tiers(tiers) => {
                let tier = tiers.iter().find(|tier| nodes.iter().any(|node| tier.contains(node)));
                nodes.retain(|node| tier.is_some_and(|tier| tier.contains(node)));
            }
        }
        Self { nodes, exclusion_ignored }
    }
}

/// The place of one node among the candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rank {
    /// Nothing if it is no candidate.
    pub place: Option<u32>,
    /// Every able node is excluded, so the label counts for nothing here.
    pub exclusion_ignored: bool,
}

impl Rank {
    /// As [`Candidates::new`], without the cost of the order of all: each member of a large cluster asks for its own
    /// place for each address.
    #[must_use]
    pub fn new(contenders: Vec<Contender>, qualified: &Qualified, address: IpAddr, node: &NodeId) -> Self {
        let Candidates { nodes, exclusion_ignored } = Candidates::unordered(contenders, qualified);
        let place = nodes.contains(node).then(|| Order::new(&address).rank(&nodes, node));
        Self { place: place.and_then(|place| u32::try_from(place).ok()), exclusion_ignored }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<NodeId> {
        names.iter().map(|name| node(name)).collect()
    }

    fn choose(contenders: &[(&str, bool, bool)], qualified: &Qualified) -> (Vec<String>, bool) {
        let contenders = contenders.iter().map(|(name, able, excluded)| Contender {
            node: node(name),
            able: *able,
            stale: false,
            excluded: *excluded,
        });
        let (contenders, address) = (contenders.collect::<Vec<_>>(), "192.0.2.10".parse().unwrap());
        let chosen = Candidates::new(contenders.clone(), qualified, address);
        for Contender { node, .. } in &contenders {
            let place = chosen.nodes.iter().position(|chosen| chosen == node).map(|place| place.try_into().unwrap());
            let rank = Rank { place, exclusion_ignored: chosen.exclusion_ignored };
            assert_eq!(Rank::new(contenders.clone(), qualified, address, node), rank);
        }
        (chosen.nodes.iter().map(ToString::to_string).collect(), chosen.exclusion_ignored)
    }

    const ALL: [(&str, bool, bool); 3] = [("node-a", true, false), ("node-b", true, false), ("node-c", true, false)];

    #[test]
    fn the_order_decides() {
        let (nodes, _) = choose(&ALL, &Qualified::All);
        assert_eq!(nodes[0], "node-c");
        assert_eq!(nodes.len(), 3);
    }

    #[test]
    fn exclusion_counts_unless_all_are_excluded() {
        assert_eq!(choose(&[("a", true, true), ("b", true, false)], &Qualified::All), (vec!["b".to_owned()], false));
        assert_eq!(choose(&[("a", true, true), ("b", false, false)], &Qualified::All), (vec!["a".to_owned()], true));
    }

    #[test]
    fn those_that_are_behind_count_if_all_are() {
        let contender = |name, stale| Contender { node: node(name), able: true, stale, excluded: false };
        let address = "192.0.2.10".parse().unwrap();
        let chosen = |contenders: &[Contender]| Candidates::new(contenders.to_vec(), &Qualified::All, address).nodes;
        assert_eq!(chosen(&[contender("a", true), contender("b", false)]), [node("b")]);
        assert_eq!(chosen(&[contender("a", true), contender("b", true)]).len(), 2);
    }

    #[test]
    fn the_first_tier_with_a_candidate_counts() {
        let tiers = Qualified::Tiers(vec![set(&["gone"]), set(&["node-a"])]);
        assert_eq!(choose(&ALL, &tiers).0, ["node-a"]);
        assert!(choose(&ALL, &Qualified::Tiers(vec![set(&[]), set(&[])])).0.is_empty());
        assert_eq!(choose(&ALL, &Qualified::Preferred(set(&["gone"]))).0.len(), 3);
    }
}
