//! What this node's Lease says of addresses that are refused or held, one page at a time.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api_types::lease::{Held, MAX_REPORT, Refused, Report};

use crate::model::uids::Uids;

/// All entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entries {
    refused: BTreeMap<IpAddr, String>,
    held: BTreeMap<IpAddr, Uids>,
    changed: bool,
}

impl Entries {
    /// Sets what is to be said of an address: why it is refused, and the UIDs of the Services for which it is held while
    /// nothing on them says so.
    pub fn set(&mut self, ip: IpAddr, refused: Option<String>, held: Uids) {
        if self.refused.get(&ip) != refused.as_ref() {
            self.changed = true;
            match refused {
                Some(why) => drop(self.refused.insert(ip, why)),
                None => drop(self.refused.remove(&ip)),
            }
        }
        if self.held.get(&ip).map_or(&[][..], |known| &**known) != &*held {
            self.changed = true;
            if held.is_empty() {
                self.held.remove(&ip);
            } else {
                self.held.insert(ip, held);
            }
        }
    }

    /// Whether anything changed since the last call.
    pub const fn take_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// The page for this turn. The pages follow each other and begin again after the last.
    #[must_use]
    pub fn page(&self, turn: usize) -> Report {
        let held_count: usize = self.held.values().map(|uids| uids.len()).sum();
        let pages = (self.refused.len() + held_count).div_ceil(MAX_REPORT);
        let page = turn.checked_rem(pages).unwrap_or(0);
        // What is held comes first: an address stays because of it.
        let (first, end) = (page * MAX_REPORT, (page + 1) * MAX_REPORT);
        let all_held = self.held.iter().flat_map(|(address, uids)| uids.iter().map(move |uid| (address, uid)));
        let held = all_held.skip(first).take(MAX_REPORT);
        let held: Vec<Held> = held.map(|(address, uid)| Held { address: *address, uid: uid.to_string() }).collect();
        let refused = self.refused.iter().skip(first.saturating_sub(held_count));
        let room = end.saturating_sub(held_count.max(first));
        let refused = refused.take(room).map(|(address, why)| Refused { address: *address, why: why.clone() });
        Report { page, pages, refused: refused.collect(), held }
    }
}

/// The turn with which the agent of a node begins, so that agents with the same entries do not all report the same page.
#[must_use]
pub fn first_turn(node: &str) -> usize {
    node.bytes().fold(0, |hash: usize, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn entries(held: u8, refused: u8) -> Entries {
        let mut entries = Entries::default();
        for n in 0..held {
            entries.set(IpAddr::from([10, 0, 0, n]), None, ["x".into()].into());
        }
        for n in 0..refused {
            entries.set(IpAddr::from([10, 0, 1, n]), Some("no".to_owned()), Uids::default());
        }
        entries
    }

    #[test]
    fn pages_have_every_entry_once() {
        for (held, refused, pages) in
            [(0, 0, 0), (3, 0, 1), (0, 65, 2), (64, 0, 1), (70, 70, 3), (10, 118, 2), (200, 1, 4)]
        {
            let entries = entries(held, refused);
            let mut seen = Vec::new();
            for turn in 7..7 + pages {
                let report = entries.page(turn);
                assert_eq!((report.page, report.pages), (turn % pages, pages));
                let size = report.held.len() + report.refused.len();
                assert!(size == MAX_REPORT || report.page == pages - 1, "{held} {refused}: {size}");
                seen.extend(report.held.into_iter().map(|held| held.address));
                seen.extend(report.refused.into_iter().map(|refused| refused.address));
            }
            let all: BTreeSet<IpAddr> = seen.iter().copied().collect();
            assert_eq!((seen.len(), all.len()), (usize::from(held) + usize::from(refused), seen.len()));
            assert_eq!(entries.page(5).is_empty(), pages == 0);
        }
    }

    #[test]
    fn only_a_change_counts() {
        let mut entries = entries(1, 1);
        assert!(entries.take_changed() && !entries.take_changed());
        entries.set(IpAddr::from([10, 0, 0, 0]), None, ["x".into()].into());
        assert!(!entries.take_changed());
        entries.set(IpAddr::from([10, 0, 0, 0]), None, Uids::default());
        assert!(entries.take_changed());
    }
}
