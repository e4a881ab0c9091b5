//! What is wrong with this node's interfaces and files, so that each cause is reported once.

use std::collections::{BTreeMap, BTreeSet};

/// What has been reported and is not over.
#[derive(Debug, Default)]
pub struct NodeProblems {
    selection: BTreeSet<String>,
    no_ipv6: BTreeSet<u32>,
    unwritable: bool,
}

impl NodeProblems {
    /// Takes over what is wrong with the selection of interfaces, a text for each cause; returns the texts of those that
    /// are new.
    pub fn note_selection(&mut self, present: BTreeMap<String, String>) -> Vec<String> {
        self.selection.retain(|cause| present.contains_key(cause));
        let new = present.into_iter().filter(|(cause, _)| self.selection.insert(cause.clone()));
        new.map(|(_, text)| text).collect()
    }

    /// Whether the state files could not be written; returns whether that is new.
    pub const fn note_unwritable(&mut self, unwritable: bool) -> bool {
        !std::mem::replace(&mut self.unwritable, unwritable) && unwritable
    }

    /// The interface took no IPv6 address; returns whether that is new.
    pub fn begin_no_ipv6(&mut self, index: u32) -> bool {
        self.no_ipv6.insert(index)
    }

    /// The interface has an IPv6 address of ours.
    pub fn end_no_ipv6(&mut self, index: u32) {
        self.no_ipv6.remove(&index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_new_once_until_it_is_over() {
        let mut problems = NodeProblems::default();
        let present = |text: &str| BTreeMap::from([("eth9".to_owned(), text.to_owned())]);
        assert_eq!(problems.note_selection(present("it has eth0")), ["it has eth0"]);
        assert!(problems.note_selection(present("it has eth0, veth1")).is_empty());
        assert!(problems.note_selection(BTreeMap::new()).is_empty());
        assert_eq!(problems.note_selection(present("again")), ["again"]);
    }

    #[test]
    fn case_59_an_interface_without_ipv6_is_reported_once() {
        let mut problems = NodeProblems::default();
        assert!(problems.begin_no_ipv6(3) && !problems.begin_no_ipv6(3) && problems.begin_no_ipv6(4));
        problems.end_no_ipv6(3);
        assert!(problems.begin_no_ipv6(3));
    }
}
