//! One change of the kernel's addresses, and what the kernel refused.

use std::net::{IpAddr, Ipv4Addr};

use nix::errno::Errno;
use runtime::BootTime;

use crate::model::address::{AddressKey, KernelAddress, MARK};
use crate::model::placement::Placement;

/// An address as it is to be written to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which address, and where.
    pub key: AddressKey,
    /// Seconds that it is valid; nothing means forever.
    pub valid: Option<u32>,
    /// Seconds that it is preferred; nothing means forever.
    pub preferred: Option<u32>,
    /// Without a connected route.
    pub no_prefix_route: bool,
    /// `IFA_PROTO`.
    pub mark: Option<u8>,
    /// The scope, 0 for global.
    pub scope: u8,
    /// IPv4: the broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// IPv4: a label other than the interface's name.
    pub label: Option<Box<str>>,
}

impl Entry {
    /// An address of ours at its placement.
    #[must_use]
    pub fn ours(placement: &Placement) -> Self {
        let Placement { key, attributes, .. } = placement;
        Self {
            key: *key,
            valid: attributes.valid_lifetime,
            preferred: attributes.preferred_lifetime,
            no_prefix_route: attributes.no_prefix_route,
            mark: Some(MARK),
            scope: 0,
            broadcast: broadcast(key),
            label: None,
        }
    }

    /// An address as the kernel has it, with a new lifetime.
    #[must_use]
    pub fn extended(key: AddressKey, address: &KernelAddress, seconds: u32, now: BootTime) -> Self {
        let entry = Self::found(key, address, now);
        // A deprecated address stays deprecated.
        let preferred = if entry.preferred == Some(0) { 0 } else { seconds };
        Self { valid: Some(seconds), preferred: Some(preferred), ..entry }
    }

    /// An address as the kernel has it, with what is left of its lifetimes.
    #[must_use]
    pub fn found(key: AddressKey, address: &KernelAddress, now: BootTime) -> Self {
        let passed = u32::try_from(now.since(address.seen).as_secs()).unwrap_or(u32::MAX);
        Self {
            key,
            valid: address.remaining(now),
            preferred: address.preferred.map(|preferred| preferred.saturating_sub(passed)),
            no_prefix_route: address.no_prefix_route,
            mark: address.mark,
            scope: address.scope,
            broadcast: address.broadcast,
            label: address.label.clone(),
        }
    }
}

/// The broadcast address, which prefixes up to /30 have (specification, announcing.md 7).
fn broadcast(key: &AddressKey) -> Option<Ipv4Addr> {
    match (key.network()?.broadcast(), key.prefix_len) {
        (IpAddr::V4(address), ..=30) => Some(address),
        _ => None,
    }
}

/// One change of the kernel's addresses. Both kinds can be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Creates the address, or replaces its attributes and lifetimes.
    Put(Entry, Purpose),
    /// Deletes the address.
    Delete(AddressKey),
}

impl Operation {
    /// The address that it changes.
    #[must_use]
    pub const fn key(&self) -> &AddressKey {
        match self {
            Self::Put(entry, _) => &entry.key,
            Self::Delete(key) => key,
        }
    }
}

/// An operation that the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Which address, and where.
    pub key: AddressKey,
    /// Whether it was to be deleted.
    pub deleting: bool,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Failure {
    /// The failure of an operation.
    #[must_use]
    pub const fn of(operation: &Operation, errno: Errno) -> Self {
        Self { key: *operation.key(), deleting: matches!(operation, Operation::Delete(_)), errno }
    }
}

/// The purpose of an [`Operation::Put`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Adds a missing address.
    Add,
    /// Renews a lifetime, or corrects the mark or a lifetime.
    Renew,
    /// Puts back an address that the kernel removes together with a deleted one.
    Restore,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::key;

    #[test]
    fn broadcast_is_set_up_to_slash_30() {
        assert_eq!(broadcast(&key(2, "192.0.2.1/24")), Some("192.0.2.255".parse().unwrap()));
        assert_eq!(broadcast(&key(2, "192.0.2.1/31")), None);
        assert_eq!(broadcast(&key(2, "2001:db8::1/64")), None);
    }
}
