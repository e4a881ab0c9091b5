//! A range of addresses of one family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;
use thiserror::Error;

use crate::Family;
use crate::reserved::unusable_between;

/// Why a text is not a range of addresses for Services.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RangeError {
    /// It is neither a CIDR nor of the form `from-to`.
    #[error(
        "{0:?} is neither a CIDR such as 192.0.2.0/24 nor a range such as 192.0.2.10-192.0.2.20; for one address write it as a CIDR with its full length (192.0.2.10/32)"
    )]
    Form(String),
    /// It lists several ranges.
    #[error("{0:?} lists several ranges: write each of them as an entry of its own in v4pools or v6pools")]
    Several(String),
    /// It has a slash, but it is not a CIDR.
    #[error("invalid CIDR {0:?}: write an address and a prefix length, such as 192.0.2.0/24")]
    Cidr(String),
    /// The part before the hyphen is not an address.
    #[error("invalid start address {start:?} in range {range:?}: write an IPv4 or IPv6 address")]
    Start {
        /// The part that is not an address.
        start: String,
        /// The whole text.
        range: String,
    },
    /// The part after the hyphen is not an address.
    #[error("invalid end address {end:?} in range {range:?}: write an IPv4 or IPv6 address")]
    End {
        /// The part that is not an address.
        end: String,
        /// The whole text.
        range: String,
    },
    /// One end is IPv4, the other IPv6.
    #[error("invalid range {0:?}: its ends are of different address families; write two IPv4 or two IPv6 addresses")]
    MixedFamilies(String),
    /// The range ends before it starts.
    #[error("invalid range {range:?}: {last} comes before {first}; write the lower address first")]
    Inverted {
        /// The whole text.
        range: String,
        /// The address before the hyphen.
        first: IpAddr,
        /// The address after the hyphen.
        last: IpAddr,
    },
    /// The range contains addresses that no host may use.
    #[error("invalid range {range:?}: it contains {what} addresses, which cannot be load balancer addresses")]
    Unusable {
        /// The whole text.
        range: String,
        /// The kind of address, for example `multicast`.
        what: &'static str,
    },
}

/// A non-empty range of addresses of one family. Both ends belong to it.
///
/// # Examples
/// ```
/// use api_types::AddressRange;
///
/// let range: AddressRange = "192.0.2.10-192.0.2.20".parse().unwrap();
/// assert_eq!(range.size(), 11);
/// // A CIDR starts at the address that is written, not at that of the network (specification, api.md 2.3).
/// let range: AddressRange = "192.0.2.5/24".parse().unwrap();
/// assert_eq!(range.first().to_string(), "192.0.2.5");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Makes a range from its ends. Returns `None` if they are of different families or in the wrong order.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (Family::of(first) == Family::of(last) && first <= last).then_some(Self { first, last })
    }

    /// The lowest address.
    #[must_use]
    pub const fn first(self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub const fn last(self) -> IpAddr {
        self.last
    }

    /// The family of all its addresses.
    #[must_use]
    pub const fn family(self) -> Family {
        Family::of(self.first)
    }

    /// The number of addresses. For the range of all IPv6 addresses it is 2^128 - 1.
    #[must_use]
    pub const fn size(self) -> u128 {
        to_bits(self.last).saturating_sub(to_bits(self.first)).saturating_add(1)
    }

    /// Whether the range contains the address.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && self.first <= address && address <= self.last
    }

    /// Whether the two ranges have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// The range of all addresses of a network, including its network and broadcast addresses.
    #[must_use]
    pub fn of_network(network: IpNetwork) -> Self {
        Self { first: network.network(), last: network.broadcast() }
    }
}

/// The address as a number: IPv4 in the low 32 bits.
#[must_use]
pub const fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => widen(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of a family with this number. Returns `None` if the family has no such address.
#[must_use]
pub fn from_bits(family: Family, bits: u128) -> Option<IpAddr> {
    match family {
        Family::V4 => u32::try_from(bits).ok().map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        Family::V6 => Some(IpAddr::V6(Ipv6Addr::from_bits(bits))),
    }
}

#[allow(clippy::as_conversions, reason = "`From` is not const, and widening loses nothing")]
const fn widen(bits: u32) -> u128 {
    bits as u128
}

impl From<IpAddr> for AddressRange {
    /// The range of this address alone.
    fn from(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let range = if text.contains(',') {
            return Err(RangeError::Several(text.to_owned()));
        } else if let Some((start, end)) = text.split_once('-') {
            let (start, end) = (start.trim(), end.trim());
            let first: IpAddr =
                start.parse().map_err(|_| RangeError::Start { start: start.to_owned(), range: text.to_owned() })?;
            let last: IpAddr =
                end.parse().map_err(|_| RangeError::End { end: end.to_owned(), range: text.to_owned() })?;
            if Family::of(first) != Family::of(last) {
                return Err(RangeError::MixedFamilies(text.to_owned()));
            }
            Self::new(first, last).ok_or_else(|| RangeError::Inverted { range: text.to_owned(), first, last })?
        } else if text.contains('/') {
            let network = parse_cidr(text).ok_or_else(|| RangeError::Cidr(text.to_owned()))?;
            Self { first: network.ip(), last: network.broadcast() }
        } else {
            return Err(RangeError::Form(text.to_owned()));
        };
        if let Some(what) = unusable_between(range.first, range.last) {
            return Err(RangeError::Unusable { range: text.to_owned(), what });
        }
        Ok(range)
    }
}

/// Parses `address/length`. The length must be a decimal number; netmasks are not accepted.
#[must_use]
pub fn parse_cidr(text: &str) -> Option<IpNetwork> {
    let (address, length) = text.trim().split_once('/')?;
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    IpNetwork::new(address.parse().ok()?, length.parse().ok()?).ok()
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10.0.0.0/24", "10.0.0.0", "10.0.0.255", 256)]
    #[case("10.0.0.5/24", "10.0.0.5", "10.0.0.255", 251)]
    #[case("10.0.0.5/32", "10.0.0.5", "10.0.0.5", 1)]
    #[case(" 10.0.0.1 - 10.0.0.3 ", "10.0.0.1", "10.0.0.3", 3)]
    #[case("2001:db8::/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff", 1 << 64)]
    #[case("2001:470:8bf5:2:2::1-2001:470:8bf5:2:2::ffff", "2001:470:8bf5:2:2::1", "2001:470:8bf5:2:2::ffff", 0xffff)]
    fn reads(#[case] text: &str, #[case] first: IpAddr, #[case] last: IpAddr, #[case] size: u128) {
        let range: AddressRange = text.parse().unwrap();
        assert_eq!((range.first(), range.last(), range.size()), (first, last, size));
    }

    #[rstest]
    #[case("")]
    #[case("10.0.0.1")]
    #[case("10.0.0.0/33")]
    #[case("10.0.0.0/")]
    #[case("10.0.0.0/+8")]
    #[case("10.0.0.0/255.255.255.0")]
    #[case("10.0.0.9-10.0.0.1")]
    #[case("10.0.0.9-2001:db8::1")]
    #[case("-")]
    #[case("10.0.0.1-10.0.0.2-10.0.0.3")]
    #[case("010.0.0.1/32")]
    #[case("224.0.0.1/32")]
    #[case("169.254.100.0/28")]
    #[case("fe80::1-fe80::2")]
    #[case("0.0.0.0/0")]
    #[case("::/0")]
    fn refuses(#[case] text: &str) {
        let error = text.parse::<AddressRange>().unwrap_err().to_string();
        assert!(error.contains(text.trim()), "{error}");
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|n| Ipv4Addr::from(n).into()),
            any::<u128>().prop_map(|n| Ipv6Addr::from(n).into())
        ]
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<AddressRange>();
        }

        #[test]
        fn any_cidr_is_read_or_refused(address in any_address(), length in 0_u8..=140) {
            if let Ok(range) = format!("{address}/{length}").parse::<AddressRange>() {
                prop_assert_eq!(range.first(), address);
                prop_assert!(range.contains(address));
            }
        }

        #[test]
        fn display_reads_back(a in any_address(), b in any_address()) {
            if let Some(range) = AddressRange::new(a, b)
                && let Ok(again) = range.to_string().parse::<AddressRange>() {
                prop_assert_eq!(again, range);
            }
        }

        #[test]
        fn overlap_is_symmetric_and_agrees_with_contains(a in any::<(u8, u8)>(), b in any::<(u8, u8)>()) {
            let range = |(x, y): (u8, u8)| AddressRange::new(
                Ipv4Addr::new(10, 0, 0, x.min(y)).into(), Ipv4Addr::new(10, 0, 0, x.max(y)).into()).unwrap();
            let (a, b) = (range(a), range(b));
            let shared = (0..=255).any(|n| { let ip = Ipv4Addr::new(10, 0, 0, n).into(); a.contains(ip) && b.contains(ip) });
            prop_assert_eq!(a.overlaps(b), shared);
            prop_assert_eq!(b.overlaps(a), shared);
        }

        #[test]
        fn bits_round_trip(address in any_address()) {
            prop_assert_eq!(from_bits(Family::of(address), to_bits(address)), Some(address));
        }
    }
}
