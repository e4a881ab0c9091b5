//! After how long the routers would notice the death of nodes, as the agents report it, over all nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api_types::lease::{Notices, RouterReport};

use super::condition::join_first;

/// The most nodes that are named for one router.
const NODES: usize = 5;
/// The most sentences.
const SENTENCES: usize = 10;

/// What the routers of all nodes would notice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RoutersView {
    /// Each router would notice the death of each of its nodes by BFD.
    pub(super) all: bool,
    /// The sentences.
    pub(super) text: String,
}

/// From the reports of all nodes; nothing if no node has a router.
pub(super) fn view<'a>(reports: impl Iterator<Item = (&'a str, &'a RouterReport)>) -> Option<RoutersView> {
    // Routers that would notice late come first: they are what somebody may want to mend.
    let mut nodes = BTreeMap::<(&Notices, &str), BTreeSet<&str>>::new();
    for (node, report) in reports {
        nodes.entry((&report.notices, &report.router)).or_default().insert(node);
    }
    let all = nodes.keys().all(|(notices, _)| matches!(notices, Notices::AfterMilliseconds(_)));
    let sentences = nodes.iter().map(|((notices, router), nodes)| {
        let nodes = join_first(nodes.iter().map(|node| (*node).to_owned()), NODES, ", ");
        let when = match notices {
            Notices::AfterMilliseconds(time) => format!("{} s", Duration::from_millis(*time).as_secs_f64()),
            Notices::AfterHoldTime(why) => format!("its BGP hold time: {why}"),
        };
        format!("the router {router} would notice the death of {nodes} after {when}")
    });
    let text = join_first(sentences, SENTENCES, "; ");
    (!nodes.is_empty()).then_some(RoutersView { all, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fast(router: &str, milliseconds: u64) -> RouterReport {
        RouterReport { router: router.to_owned(), notices: Notices::AfterMilliseconds(milliseconds) }
    }

    fn late(router: &str) -> RouterReport {
        let why = "it does not speak BFD with the node".to_owned();
        RouterReport { router: router.to_owned(), notices: Notices::AfterHoldTime(why) }
    }

    #[test]
    fn nodes_are_gathered_and_the_late_come_first() {
        assert_eq!(view(std::iter::empty()), None);
        let one = fast("192.0.2.1", 900);
        let found = view([("n2", &one), ("n1", &one)].into_iter()).unwrap();
        assert!(found.all);
        assert_eq!(found.text, "the router 192.0.2.1 would notice the death of n1, n2 after 0.9 s");
        let silent = late("192.0.2.1");
        let found = view([("n1", &one), ("n2", &one), ("n3", &silent)].into_iter()).unwrap();
        assert!(!found.all);
        assert_eq!(
            found.text,
            "the router 192.0.2.1 would notice the death of n3 after its BGP hold time: it does not speak BFD with the node; the router 192.0.2.1 would notice the death of n1, n2 after 0.9 s"
        );
    }

    #[test]
    fn the_text_is_bounded() {
        let routers: Vec<_> = (0..100).map(|n| late(&format!("192.0.2.{n}"))).collect();
        let nodes: Vec<_> = (0..1000).map(|n| format!("{n:063}")).collect();
        let reports = nodes.iter().flat_map(|node| routers.iter().map(move |router| (node.as_str(), router)));
        let text = view(reports).unwrap().text;
        assert!(text.len() < 8192 && text.ends_with("and 90 more") && text.contains("and 995 more"), "{text}");
    }
}
