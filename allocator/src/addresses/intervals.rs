//! A set of numbers, kept as intervals.

use std::collections::BTreeMap;

/// Numbers in disjoint intervals that do not touch each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Intervals {
    /// First number to last number.
    parts: BTreeMap<u128, u128>,
    len: u128,
}

impl Intervals {
    /// The number of members.
    pub(super) const fn len(&self) -> u128 {
        self.len
    }

    /// Adds a number. Returns whether it was missing. O(log n).
    pub(super) fn insert(&mut self, number: u128) -> bool {
        let before = self.parts.range(..=number).next_back().map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let mut first = number;
        if let Some((start, last)) = before
            && last.checked_add(1) == Some(number)
        {
            first = start;
        }
        // An interval that begins right after the number merges with it.
        let after = number.checked_add(1).and_then(|next| self.parts.remove(&next));
        self.parts.insert(first, after.unwrap_or(number));
        self.len = self.len.saturating_add(1);
        true
    }

    /// Removes a number. Returns whether it was a member. O(log n).
    pub(super) fn remove(&mut self, number: u128) -> bool {
        let Some((&first, &last)) = self.parts.range(..=number).next_back() else { return false };
        if number > last {
            return false;
        }
        self.parts.remove(&first);
        if first < number {
            self.parts.insert(first, number.saturating_sub(1));
        }
        if number < last {
            self.parts.insert(number.saturating_add(1), last);
        }
        self.len = self.len.saturating_sub(1);
        true
    }

    /// The lowest number from `first` to `last` that is missing. O(log n).
    pub(super) fn lowest_missing(&self, first: u128, last: u128) -> Option<u128> {
        let candidate = match self.parts.range(..=first).next_back() {
            Some((_, &end)) if end >= first => end.checked_add(1)?,
            _ => first,
        };
        (candidate <= last).then_some(candidate)
    }

    /// The number from `first` to `last` up to which `count` are missing, or `last` if fewer are. O(n) of the intervals
    /// between.
    pub(super) fn missing_up_to(&self, first: u128, last: u128, count: u128) -> u128 {
        let (mut from, mut open) = (first, count.max(1));
        while let Some(start) = self.lowest_missing(from, last) {
            let next = self.parts.range(start..=last).next();
            let run = next.map_or(last.saturating_add(1), |(&first, _)| first).saturating_sub(start);
            if run >= open {
                return start.saturating_add(open.saturating_sub(1));
            }
            let Some((_, &end)) = next else { return last };
            (from, open) = (end.saturating_add(1), open.saturating_sub(run));
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_naive_set(operations in prop::collection::vec((any::<bool>(), 0_u128..40), 0..300)) {
            let (mut set, mut naive) = (Intervals::default(), BTreeSet::new());
            for (insert, number) in operations {
                if insert {
                    prop_assert_eq!(set.insert(number), naive.insert(number));
                } else {
                    prop_assert_eq!(set.remove(number), naive.remove(&number));
                }
                prop_assert_eq!(set.len(), u128::try_from(naive.len()).unwrap());
                for first in [0, 7, 20] {
                    let mut missing = (first..=39).filter(|number| !naive.contains(number));
                    prop_assert_eq!(set.lowest_missing(first, 39), missing.clone().next());
                    prop_assert_eq!(set.missing_up_to(first, 39, 5), missing.nth(4).unwrap_or(39));
                }
                let parts: Vec<_> = set.parts.iter().collect();
                prop_assert!(parts.windows(2).all(|pair| *pair[0].1 + 1 < *pair[1].0));
            }
        }
    }

    #[test]
    fn works_at_the_end_of_numbers() {
        let mut set = Intervals::default();
        assert!(set.insert(u128::MAX));
        assert!(set.insert(u128::MAX - 1));
        assert_eq!(set.lowest_missing(u128::MAX - 1, u128::MAX), None);
        assert!(set.remove(u128::MAX));
        assert_eq!(set.lowest_missing(u128::MAX - 1, u128::MAX), Some(u128::MAX));
    }
}
