//! What is wrong with this node's interfaces and files, and with how other nodes answer ARP, so that each cause is reported
//! once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api_types::Family;
use runtime::BootTime;

/// How often it is reported that a node answers ARP for addresses that it does not own.
const STRICT_ARP: Duration = Duration::from_secs(3600);

/// What has been reported and is not over.
#[derive(Debug, Default)]
pub struct NodeProblems {
    selection: BTreeSet<String>,
    /// Interfaces that answer for the addresses of another one.
    twins: BTreeSet<String>,
    no_ipv6: BTreeSet<u32>,
    unwritable: bool,
    /// The addresses of ours that the kernel gives to the node's own packets.
    sources: BTreeMap<Family, IpAddr>,
    /// Nodes that answer ARP for addresses that they do not own, and whether they have these as routes.
    strict_arp: BTreeMap<(String, bool), BootTime>,
}

impl NodeProblems {
    /// Takes over what is wrong with the selection of interfaces, a text for each cause; returns the texts of those that
    /// are new.
    pub fn note_selection(&mut self, present: BTreeMap<String, String>) -> Vec<String> {
        self.selection.retain(|cause| present.contains_key(cause));
        let new = present.into_iter().filter(|(cause, _)| self.selection.insert(cause.clone()));
        new.map(|(_, text)| text).collect()
    }

    /// Takes over which interfaces answer for others, as texts; returns those that are new.
    pub fn note_twins(&mut self, present: BTreeSet<String>) -> Vec<String> {
        let new = present.difference(&self.twins).cloned().collect();
        self.twins = present;
        new
    }

    /// Whether the state files could not be written; returns whether that is new.
    pub const fn note_unwritable(&mut self, unwritable: bool) -> bool {
        !std::mem::replace(&mut self.unwritable, unwritable) && unwritable
    }

    /// The address of ours that the kernel gives to the node's own packets of a family; returns whether there is one and it
    /// is new.
    pub fn note_source(&mut self, family: Family, source: Option<IpAddr>) -> bool {
        let before = match source {
            Some(source) => self.sources.insert(family, source),
            None => self.sources.remove(&family),
        };
        source.is_some() && before != source
    }

    /// The node answered ARP for an address that it does not own; returns whether that is to be reported. It does so for
    /// many addresses, and the cause is one.
    pub fn note_strict_arp(&mut self, node: &str, routed: bool, now: BootTime) -> bool {
        let is_recent = |at: &BootTime| now.since(*at) < STRICT_ARP;
        let key = (node.to_owned(), routed);
        if self.strict_arp.get(&key).is_some_and(is_recent) {
            return false;
        }
        self.strict_arp.insert(key, now);
        true
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
    fn a_node_that_answers_arp_is_reported_once_an_hour() {
        let mut problems = NodeProblems::default();
        let at = |seconds| BootTime::from_duration(Duration::from_secs(seconds));
        assert!(problems.note_strict_arp("b", false, at(0)) && !problems.note_strict_arp("b", false, at(3599)));
        assert!(problems.note_strict_arp("c", false, at(1)) && problems.note_strict_arp("b", true, at(1)));
        assert!(problems.note_strict_arp("b", false, at(3600)));
    }

    #[test]
    fn case_59_an_interface_without_ipv6_is_reported_once() {
        let mut problems = NodeProblems::default();
        assert!(problems.begin_no_ipv6(3) && !problems.begin_no_ipv6(3) && problems.begin_no_ipv6(4));
        problems.end_no_ipv6(3);
        assert!(problems.begin_no_ipv6(3));
    }
}
