//! The one answer to the question whether an address in the kernel is ours.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::address::{AddressKey, KernelAddress, MARK};
use crate::model::candidacy::Candidacy;

/// By what an address in the kernel is known to be ours.
///
/// | The kernel | Ours is |
/// |---|---|
/// | marks addresses (Linux 5.18 and later) | what carries our mark, and what is recorded as ours and has lost the mark |
/// | does not | what is recorded, and what this node is a candidate for at that place |
///
/// `ip address replace` takes the mark away. The candidacy is needed because the protocol for local addresses adds an
/// address some time before the agent can record it.
#[derive(Debug, Clone, Copy)]
pub struct Ours<'a> {
    recorded: &'a BTreeSet<AddressKey>,
    kernel_marks: bool,
    candidacies: Option<&'a BTreeMap<IpAddr, Candidacy>>,
}

impl<'a> Ours<'a> {
    /// What is marked or recorded; `kernel_marks` says whether the kernel keeps marks.
    #[must_use]
    pub const fn new(recorded: &'a BTreeSet<AddressKey>, kernel_marks: bool) -> Self {
        Self { recorded, kernel_marks, candidacies: None }
    }

    /// Also what the protocol may have added, where the kernel does not mark addresses.
    #[must_use]
    pub const fn or_candidate(self, candidacies: &'a BTreeMap<IpAddr, Candidacy>) -> Self {
        Self { candidacies: if self.kernel_marks { None } else { Some(candidacies) }, ..self }
    }

    /// Whether the address is ours.
    #[must_use]
    pub fn includes(&self, key: &AddressKey, found: &KernelAddress) -> bool {
        let is_candidate = |candidacies: &BTreeMap<IpAddr, Candidacy>| {
            candidacies.get(&key.ip).is_some_and(|candidacy| candidacy.placement.key == *key)
        };
        found.mark == Some(MARK) || self.recorded.contains(key) || self.candidacies.is_some_and(is_candidate)
    }

    /// Whether an address of ours has lost its mark.
    #[must_use]
    pub fn lacks_mark(&self, found: &KernelAddress) -> bool {
        self.kernel_marks && found.mark != Some(MARK)
    }
}

#[cfg(test)]
mod tests {
    use api_types::AddressAttributes;
    use ownership::{AddressSpec, LinkId, Qualified};

    use super::*;
    use crate::model::placement::{Kind, Placement};
    use crate::model::testing::{key, ours, plain};

    #[test]
    fn a_mark_or_the_record_makes_an_address_ours() {
        let (one, other) = (key(2, "192.0.2.1/24"), key(2, "192.0.2.2/24"));
        let recorded = [one].into();
        let known = Ours::new(&recorded, true);
        assert!(known.includes(&one, &plain()) && known.includes(&other, &ours()));
        assert!(!known.includes(&other, &plain()));
    }

    #[test]
    fn a_mark_is_missed_only_where_the_kernel_keeps_marks() {
        let recorded = BTreeSet::new();
        for (kernel_marks, found, expected) in [(true, plain(), true), (true, ours(), false), (false, plain(), false)] {
            assert_eq!(Ours::new(&recorded, kernel_marks).lacks_mark(&found), expected, "{kernel_marks} {found:?}");
        }
    }

    #[test]
    fn a_candidacy_counts_only_where_the_kernel_cannot_mark_addresses() {
        let (key, elsewhere) = (key(2, "192.0.2.1/24"), key(3, "192.0.2.1/24"));
        let want = AddressSpec {
            address: key.ip,
            link: LinkId(2),
            qualified: Qualified::All,
            rebalance: 0,
            free: None,
            skip_probe: false,
            announced_by: None,
        };
        let placement = Placement { kind: Kind::Local, key, aggregate: None, attributes: AddressAttributes::LOCAL };
        let candidacies = [(key.ip, Candidacy { want, placement, requests: BTreeSet::new() })].into();
        let recorded = BTreeSet::new();
        let ours = |marks| Ours::new(&recorded, marks).or_candidate(&candidacies);
        assert!(ours(false).includes(&key, &plain()));
        assert!(!ours(true).includes(&key, &plain()));
        assert!(!ours(false).includes(&elsewhere, &plain()));
    }
}
