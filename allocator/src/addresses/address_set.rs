//! Addresses as a few ranges, and their form as text.

use std::fmt;
use std::net::IpAddr;

use api_types::AddressRange;
use api_types::range::to_bits;

/// The most ranges of a set. Beyond it the narrowest gaps are filled.
const MOST: usize = 512;

/// Addresses of both families.
///
/// The text lists ranges and single addresses in order: `192.0.2.1-192.0.2.9,192.0.2.40,2001:db8::-2001:db8::ff`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// Disjoint, and not next to each other.
    ranges: Vec<AddressRange>,
}

impl AddressSet {
    /// The addresses of these ranges, and more if that takes more than 512 ranges: then the narrowest gaps belong to it.
    #[must_use]
    pub fn new(ranges: impl IntoIterator<Item = AddressRange>) -> Self {
        let mut sorted: Vec<AddressRange> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut ranges = joined(&sorted, 0);
        if let Some(excess) = ranges.len().checked_sub(MOST).filter(|excess| *excess > 0) {
            let mut gaps: Vec<u128> = ranges.iter().zip(ranges.iter().skip(1)).filter_map(gap).collect();
            gaps.sort_unstable();
            ranges = joined(&ranges, gaps.get(excess).or(gaps.last()).copied().unwrap_or_default());
        }
        Self { ranges }
    }

    /// Reads the text of a set.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            AddressRange::new(first.parse().ok()?, last.parse().ok()?)
        };
        let ranges: Option<Vec<AddressRange>> = text.split(',').filter(|part| !part.is_empty()).map(range).collect();
        Some(Self::new(ranges?))
    }

    /// The range of the set that the address lies in.
    #[must_use]
    pub fn range_of(&self, address: IpAddr) -> Option<AddressRange> {
        let above = self.ranges.partition_point(|range| range.first() <= address);
        let range = above.checked_sub(1).and_then(|index| self.ranges.get(index))?;
        range.contains(address).then_some(*range)
    }

    /// Whether the address belongs to the set.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.range_of(address).is_some()
    }

    /// The ranges, in order.
    #[must_use]
    pub fn ranges(&self) -> &[AddressRange] {
        &self.ranges
    }
}

/// How many addresses lie between two ranges, the second of which begins no lower; none at all if they touch or overlap.
fn gap((lower, upper): (&AddressRange, &AddressRange)) -> Option<u128> {
    let between = to_bits(upper.first()).saturating_sub(to_bits(lower.last())).saturating_sub(1);
    (lower.family() == upper.family()).then_some(between)
}

/// Sorted ranges without the gaps of up to so many addresses.
fn joined(sorted: &[AddressRange], up_to: u128) -> Vec<AddressRange> {
    let mut joined: Vec<AddressRange> = Vec::new();
    for range in sorted {
        let before = joined.last_mut().filter(|before| gap((&**before, range)).is_some_and(|gap| gap <= up_to));
        let wider = before
            .and_then(|before| Some((AddressRange::new(before.first(), before.last().max(range.last()))?, before)));
        match wider {
            Some((wider, before)) => *before = wider,
            None => joined.push(*range),
        }
    }
    joined
}

impl fmt::Display for AddressSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            match (range.first(), range.last()) {
                (first, last) if first == last => write!(f, "{separator}{first}")?,
                (first, last) => write!(f, "{separator}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(first: u8, last: u8) -> AddressRange {
        let address = |last: u8| IpAddr::from([192, 0, 2, last]);
        AddressRange::new(address(first.min(last)), address(first.max(last))).unwrap()
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_set(parts in prop::collection::vec((any::<u8>(), 0_u8..20), 0..40)) {
            let ranges: Vec<_> = parts.iter().map(|(first, more)| range(*first, first.saturating_add(*more))).collect();
            let naive: BTreeSet<u8> =
                parts.iter().flat_map(|(first, more)| *first..=first.saturating_add(*more)).collect();
            let set = AddressSet::new(ranges);
            for last in 0..=255 {
                prop_assert_eq!(set.contains(IpAddr::from([192, 0, 2, last])), naive.contains(&last));
            }
            prop_assert!(!set.contains(IpAddr::from([0; 16])));
            prop_assert_eq!(AddressSet::parse(&set.to_string()), Some(set));
        }
    }

    #[test]
    fn both_families_and_single_addresses_have_a_text() {
        let text = "192.0.2.1-192.0.2.9,192.0.2.40,2001:db8::-2001:db8::ff";
        assert_eq!(AddressSet::parse(text).unwrap().to_string(), text);
        assert_eq!(AddressSet::parse("").unwrap(), AddressSet::default());
        for wrong in ["x", "192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::1", "192.0.2.0/24", "*"] {
            assert_eq!(AddressSet::parse(wrong), None, "{wrong}");
        }
        let all = "0.0.0.0-255.255.255.255,::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(AddressSet::parse(all).unwrap().to_string(), all);
    }

    #[test]
    fn too_many_ranges_are_joined_across_the_narrowest_gaps() {
        let far = (0..600_u128).map(|number| IpAddr::from(std::net::Ipv6Addr::from_bits(number << 64)));
        let near = (0..600_u32).map(|number| IpAddr::from(std::net::Ipv4Addr::from_bits(number * 2 + number / 500)));
        let all: Vec<IpAddr> = far.chain(near).collect();
        let set = AddressSet::new(all.iter().copied().map(AddressRange::from));
        assert!(set.ranges().len() <= MOST, "{}", set.ranges().len());
        assert!(all.iter().all(|address| set.contains(*address)));
        let few = AddressSet::new(all.iter().skip(600).copied().map(AddressRange::from));
        assert!(few.ranges().len() <= MOST && few.contains(all[601]));
    }
}
