//! The digest of a set of claims: the exclusive or of one hash per claim, so that it follows each change cheaply.

use std::net::IpAddr;

use ring::digest::{SHA256, digest};

use crate::wire::Epoch;

/// The hash of one claim.
pub(super) fn claim_digest(address: IpAddr, epoch: Epoch) -> u64 {
    let mut bytes = [0; 24];
    let (ip, number) = bytes.split_at_mut(16);
    let octets = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    ip.copy_from_slice(&octets);
    number.copy_from_slice(&epoch.to_be_bytes());
    digest(&SHA256, &bytes).as_ref().first_chunk::<8>().copied().map_or(0, u64::from_be_bytes)
}
