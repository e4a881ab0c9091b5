//! Seeded randomness (SplitMix64): discriminators and jitter.

/// A small generator. The caller seeds it with random bits: a discriminator that can be guessed helps a forger.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator that gives the same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 32 bits.
    pub const fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [.., a, b, c, d] = (bits ^ (bits >> 31)).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// A number of `0..=limit`.
    pub fn up_to(&mut self, limit: u32) -> u32 {
        let wide = u64::from(self.next()) * (u64::from(limit) + 1);
        u32::try_from(wide >> 32).unwrap_or(limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_range_and_nothing_else() {
        let mut rng = Rng::new(1);
        let numbers: std::collections::BTreeSet<u32> = (0..1000).map(|_| rng.up_to(3)).collect();
        assert_eq!(numbers, (0..=3).collect());
        assert_eq!(rng.up_to(0), 0);
        assert!((0..10).map(|_| rng.up_to(u32::MAX)).max() > Some(1 << 30));
    }
}
