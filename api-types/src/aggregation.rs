//! The prefix length that an address gets on the dummy interface.

use std::str::FromStr;

use ipnetwork::IpNetwork;
use thiserror::Error;

use crate::Family;

/// Why an aggregation cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AggregationError {
    /// It is neither `default` nor a length from `/8` to `/128`.
    #[error(
        "invalid aggregation {0:?}: write \"default\" or a slash and a prefix length from /8 to /128, such as \"/32\""
    )]
    Form(String),
    /// It is longer than an address of the family.
    #[error("invalid aggregation \"/{length}\": {family} addresses have {} bits, so write at most /{}", .family.bits(), .family.bits())]
    TooLong {
        /// The length, in bits.
        length: u8,
        /// The family of the pool.
        family: Family,
    },
}

/// The prefix length of an address on the dummy interface.
///
/// The kernel's connected route has the same length, and routing software exports that route (specification,
/// announcing.md 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Aggregation {
    /// The prefix length of the range's subnet.
    #[default]
    Subnet,
    /// A fixed length in bits, 8 to 128.
    Length(u8),
}

impl Aggregation {
    /// The prefix length in bits for an address of this subnet.
    #[must_use]
    pub fn prefix_len(self, subnet: IpNetwork) -> u8 {
        match self {
            Self::Subnet => subnet.prefix(),
            Self::Length(length) => length,
        }
    }

    /// Returns the aggregation if it is not longer than an address of the family.
    ///
    /// # Errors
    /// [`AggregationError::TooLong`] if it is longer.
    pub fn fits(self, family: Family) -> Result<Self, AggregationError> {
        match self {
            Self::Length(length) if length > family.bits() => Err(AggregationError::TooLong { length, family }),
            fits => Ok(fits),
        }
    }
}

impl FromStr for Aggregation {
    type Err = AggregationError;

    fn from_str(text: &str) -> Result<Self, AggregationError> {
        if text == "default" {
            return Ok(Self::Subnet);
        }
        text.strip_prefix('/')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0'))
            .and_then(|digits| digits.parse().ok())
            .filter(|length| (8..=128).contains(length))
            .map(Self::Length)
            .ok_or_else(|| AggregationError::Form(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lengths_from_8_to_128_and_no_others(length in 0_u16..300) {
            let parsed = format!("/{length}").parse::<Aggregation>();
            if (8..=128).contains(&length) {
                prop_assert_eq!(parsed, Ok(Aggregation::Length(u8::try_from(length).unwrap())));
            } else {
                prop_assert!(parsed.is_err());
            }
        }

        #[test]
        fn never_panics(text in "\\PC{0,12}") {
            let _ = text.parse::<Aggregation>();
        }
    }

    #[test]
    fn a_bare_number_is_refused_with_advice() {
        for text in ["32", "", "/", "/032", "/+32", "/32 ", "Default"] {
            let error = text.parse::<Aggregation>().unwrap_err().to_string();
            assert!(error.contains("/32"), "{error}");
        }
    }

    #[test]
    fn subnet_or_length() {
        let subnet = "192.0.2.0/24".parse().unwrap();
        assert_eq!(Aggregation::Subnet.prefix_len(subnet), 24);
        assert_eq!(Aggregation::Length(32).prefix_len(subnet), 32);
        assert!(Aggregation::Length(64).fits(Family::V4).is_err());
        assert!(Aggregation::Length(64).fits(Family::V6).is_ok());
    }
}
