//! An address in the kernel: the key by which the kernel knows it, and its attributes.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use runtime::BootTime;

/// The mark (`IFA_PROTO`, Linux 5.18) on every address that we add: `ip address` shows it as
/// `proto 0x4c` (an L, for load balancer). The kernel uses 1 to 3; other programs are free to use
/// any number, so the mark counts only together with what we want or with an interface of ours.
pub const MARK: u8 = 0x4c;

/// Names one address of the kernel: the kernel tells addresses apart by just these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey {
    /// The address.
    pub ip: IpAddr,
    /// Index of its interface.
    pub index: u32,
    /// Prefix length in bits.
    pub prefix_len: u8,
}

impl AddressKey {
    /// The network that the address makes its interface part of.
    #[must_use]
    pub fn network(&self) -> Option<IpNetwork> {
        let network = IpNetwork::new(self.ip, self.prefix_len).ok()?;
        IpNetwork::new(network.network(), self.prefix_len).ok()
    }
}

/// The attributes of an address in the kernel.
#[allow(clippy::struct_excessive_bools, reason = "they are the kernel's flags")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelAddress {
    /// Who added it (`IFA_PROTO`).
    pub mark: Option<u8>,
    /// Seconds that it is valid, counted from `seen`; nothing means for ever.
    pub valid: Option<u32>,
    /// Seconds that it is preferred, counted from `seen`; nothing means for ever.
    pub preferred: Option<u32>,
    /// When the kernel said so.
    pub seen: BootTime,
    /// IPv4: another address of the same network is the primary one.
    pub secondary: bool,
    /// Without the connected route.
    pub no_prefix_route: bool,
    /// Not tentative, not deprecated, not failed: fit to say which subnet the interface is in.
    pub usable: bool,
    /// The scope (`RT_SCOPE_*`), 0 for global.
    pub scope: u8,
    /// IPv4: the broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// IPv4: a label other than the interface's name, such as `eth0:1`.
    pub label: Option<Box<str>>,
}

impl KernelAddress {
    /// Seconds that it is still valid; nothing means for ever.
    #[must_use]
    pub fn remaining(&self, now: BootTime) -> Option<u32> {
        let passed = u32::try_from(now.since(self.seen).as_secs()).unwrap_or(u32::MAX);
        self.valid.map(|valid| valid.saturating_sub(passed))
    }
}
