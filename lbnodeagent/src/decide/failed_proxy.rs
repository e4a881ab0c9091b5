//! Nodes that kube-proxy does not serve are the last choice.

use std::collections::BTreeSet;

use ownership::{NodeId, Qualified};

/// Puts the nodes of `failed` after all others. `all` are the nodes that there are.
#[must_use]
pub(super) fn demote(qualified: Qualified, all: &BTreeSet<NodeId>, failed: &BTreeSet<NodeId>) -> Qualified {
    if failed.is_empty() {
        return qualified;
    }
    let without = |nodes: &BTreeSet<NodeId>| -> BTreeSet<NodeId> { nodes.difference(failed).cloned().collect() };
    match qualified {
        Qualified::All => Qualified::Preferred(without(all)),
        Qualified::Preferred(nodes) => {
            let rest = without(&nodes);
            Qualified::Preferred(if rest.is_empty() { without(all) } else { rest })
        }
        Qualified::Tiers(tiers) => {
            let last = tiers.iter().map(|tier| tier.intersection(failed).cloned().collect::<BTreeSet<_>>());
            let last: Vec<BTreeSet<NodeId>> = last.filter(|tier| !tier.is_empty()).collect();
            Qualified::Tiers(tiers.iter().map(without).chain(last).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<NodeId> {
        names.iter().filter_map(|name| NodeId::new(name)).collect()
    }

    fn after(qualified: Qualified) -> Qualified {
        demote(qualified, &set(&["a", "b", "c"]), &set(&["b"]))
    }

    #[test]
    fn a_failed_node_is_the_last_choice() {
        assert_eq!(after(Qualified::All), Qualified::Preferred(set(&["a", "c"])));
        assert_eq!(after(Qualified::Preferred(set(&["a", "b"]))), Qualified::Preferred(set(&["a"])));
        assert_eq!(after(Qualified::Preferred(set(&["b"]))), Qualified::Preferred(set(&["a", "c"])));
        assert_eq!(
            after(Qualified::Tiers(vec![set(&["a", "b"]), set(&["b"])])),
            Qualified::Tiers(vec![set(&["a"]), set(&[]), set(&["b"]), set(&["b"])])
        );
    }

    #[test]
    fn without_a_failed_node_nothing_changes() {
        for qualified in [Qualified::All, Qualified::Preferred(set(&["a"])), Qualified::Tiers(vec![set(&[])])] {
            assert_eq!(demote(qualified.clone(), &set(&["a", "b"]), &set(&[])), qualified);
        }
    }
}
