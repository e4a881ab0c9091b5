//! The queue of rumours, which travel on datagrams that are sent anyway.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::model::node::NodeId;

/// The rumours to be passed on, in order: a few of perhaps a thousand go with each datagram.
#[derive(Debug)]
pub(super) struct Rumours {
    /// The subject of each rumour, by how often it is still to be sent, and by its place among those with equal counts.
    order: BTreeMap<(Reverse<usize>, i64), NodeId>,
    keys: BTreeMap<NodeId, (Reverse<usize>, i64)>,
    first: i64,
    last: i64,
}

impl Rumours {
    pub const fn new() -> Self {
        Self { order: BTreeMap::new(), keys: BTreeMap::new(), first: 0, last: 0 }
    }

    /// Adds a rumour that is to be sent `left` times; it replaces an older one of the same node and comes after others
    /// with the same count.
    pub fn add(&mut self, node: &NodeId, left: usize) {
        self.last += 1;
        self.insert(node.clone(), (Reverse(left), self.last));
    }

    fn insert(&mut self, node: NodeId, key: (Reverse<usize>, i64)) {
        if let Some(old) = self.keys.insert(node.clone(), key) {
            self.order.remove(&old);
        }
        self.order.insert(key, node);
    }

    /// The subjects of the rumours that were sent least, which counts as sending them; they keep their order before
    /// others with the same count.
    pub fn take(&mut self, count: usize) -> Vec<NodeId> {
        let taken: Vec<_> = std::iter::from_fn(|| self.order.pop_first()).take(count).collect();
        for ((Reverse(left), _), node) in taken.iter().rev() {
            if *left > 1 {
                self.first -= 1;
                self.insert(node.clone(), (Reverse(left - 1), self.first));
            } else {
                self.keys.remove(node);
            }
        }
        taken.into_iter().map(|(_, node)| node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_sent_rumours_come_first() {
        let [a, b, c] = ["a", "b", "c"].map(|name| NodeId::new(name).unwrap());
        let mut rumours = Rumours::new();
        rumours.add(&a, 2);
        rumours.add(&b, 2);
        assert_eq!(rumours.take(2), [a.clone(), b.clone()]);
        rumours.add(&c, 1);
        assert_eq!(rumours.take(1), std::slice::from_ref(&a));
        // A new rumour of the same member replaces the old one.
        rumours.add(&c, 3);
        assert_eq!(rumours.take(9), [c.clone(), b]);
        assert_eq!(rumours.take(9), std::slice::from_ref(&c));
        assert_eq!(rumours.take(9), [c]);
        assert!(rumours.take(9).is_empty() && rumours.keys.is_empty());
    }
}
