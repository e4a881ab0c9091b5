//! What writes of an earlier leader may still give, if they arrive late.
//!
//! An allocator gives the lowest free address of a range. So if `n` writes may take one address each, and a range has many
//! more free addresses than `n`, the highest of them is not among those that the writes give: each address below it would
//! have had to be in use when the write was planned. Addresses that were freed since then are counted as well.
//!
//! A leader that gives the highest address for this reason [marks](crate::model::WrittenAnnotations::takes_highest) the
//! Service first. The next leader knows by that mark that the write may give any address of the group.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The most addresses that writes may have held of which nothing is known: those under way for Services that do not wait
/// any more, each for as many addresses as a Service may name.
const UNKNOWN: u128 = 64 * 16;

/// What a late write could give a Service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MayGet {
    /// Any address at all.
    pub anything: bool,
    /// One address of each range of these groups, the lowest that is free; or one that it may share.
    pub groups: BTreeSet<String>,
    /// Not the lowest one, but any.
    pub any_of_groups: bool,
    /// These addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// How many late writes could take an address of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct OfGroup {
    all: usize,
    /// Those that may give any address.
    any: usize,
}

/// What all late writes could give.
#[derive(Debug, Default)]
pub struct LateWrites {
    anything: usize,
    groups: BTreeMap<String, OfGroup>,
    addresses: BTreeMap<IpAddr, usize>,
}

/// Which addresses of a range late writes could take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// None.
    Nothing,
    /// One of as many as this, from the lowest free one on.
    Lowest(u128),
    /// Any.
    Anything,
}

impl LateWrites {
    /// One more write may arrive.
    pub fn add(&mut self, may_get: &MayGet) {
        self.anything += usize::from(may_get.anything);
        for group in &may_get.groups {
            let count = self.groups.entry(group.clone()).or_default();
            count.all += 1;
            count.any += usize::from(may_get.any_of_groups);
        }
        for address in &may_get.addresses {
            *self.addresses.entry(*address).or_default() += 1;
        }
    }

    /// One of them cannot arrive any more. Returns whether something that it could give is not reserved any more.
    pub fn remove(&mut self, may_get: &MayGet) -> bool {
        self.anything = self.anything.saturating_sub(usize::from(may_get.anything));
        let mut over = may_get.anything && self.anything == 0;
        for group in &may_get.groups {
            let Some(count) = self.groups.get_mut(group) else { continue };
            count.all = count.all.saturating_sub(1);
            count.any = count.any.saturating_sub(usize::from(may_get.any_of_groups));
            over |= count.all == 0 || may_get.any_of_groups && count.any == 0;
            if count.all == 0 {
                self.groups.remove(group);
            }
        }
        for address in &may_get.addresses {
            let Some(count) = self.addresses.get_mut(address) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.addresses.remove(address);
                over = true;
            }
        }
        over
    }

    /// How many of them could take an address of the group.
    #[must_use]
    pub fn of_group(&self, group: &str) -> usize {
        self.groups.get(group).map_or(0, |count| count.all)
    }

    /// Which addresses of a range of the group they could take.
    #[must_use]
    pub fn taken_of(&self, group: &str) -> Taken {
        match self.groups.get(group) {
            _ if self.anything > 0 => Taken::Anything,
            None => Taken::Nothing,
            Some(count) if count.any > 0 => Taken::Anything,
            Some(count) => {
                let count = u128::try_from(count.all).unwrap_or(u128::MAX);
                Taken::Lowest(count.saturating_add(UNKNOWN))
            }
        }
    }

    /// Whether one of them could give this very address, which is not just one of a group's.
    #[must_use]
    pub fn names(&self, address: IpAddr) -> bool {
        self.anything > 0 || self.addresses.contains_key(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_late_write_takes_one_of_the_lowest_and_a_marked_one_any() {
        let of = |any_of_groups| MayGet { groups: ["x".to_owned()].into(), any_of_groups, ..MayGet::default() };
        let mut late = LateWrites::default();
        assert_eq!(late.taken_of("x"), Taken::Nothing);
        late.add(&of(false));
        late.add(&of(false));
        assert_eq!((late.taken_of("x"), late.taken_of("y")), (Taken::Lowest(2 + UNKNOWN), Taken::Nothing));
        late.add(&of(true));
        assert_eq!(late.taken_of("x"), Taken::Anything);
        assert!(late.remove(&of(true)));
        assert_eq!(late.taken_of("x"), Taken::Lowest(2 + UNKNOWN));
        assert!(!late.remove(&of(false)) && late.remove(&of(false)));
        assert_eq!((late.taken_of("x"), late.of_group("x")), (Taken::Nothing, 0));
        late.add(&MayGet { anything: true, ..MayGet::default() });
        assert_eq!(late.taken_of("y"), Taken::Anything);
        assert!(late.names(IpAddr::from([192, 0, 2, 1])));
    }
}
