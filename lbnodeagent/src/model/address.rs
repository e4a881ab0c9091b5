//! An address in the kernel: the key by which the kernel knows it, and its attributes.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use runtime::BootTime;

/// The mark (`IFA_PROTO`, Linux 5.18) on every address that we add. `ip address` shows it as `proto 0x4c` (an L,
/// for load balancer). The kernel itself uses 1 to 3, and other programs may use any number.
pub const MARK: u8 = 0x4c;

/// The key by which the kernel tells addresses apart.
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
    /// Seconds that it is valid, counted from `seen`; nothing means forever.
    pub valid: Option<u32>,
    /// Seconds that it is preferred, counted from `seen`; nothing means forever.
    pub preferred: Option<u32>,
    /// When the kernel reported it.
    pub seen: BootTime,
    /// IPv4: another address of the same network is the primary one.
    pub secondary: bool,
    /// Added without a connected route.
    pub no_prefix_route: bool,
    /// Neither tentative nor deprecated nor failed. Only such an address shows which subnet the interface is
    /// in.
    pub usable: bool,
    /// The scope (`RT_SCOPE_*`), 0 for global.
    pub scope: u8,
    /// IPv4: the broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// IPv4: a label other than the interface's name, such as `eth0:1`.
    pub label: Option<Box<str>>,
}

impl KernelAddress {
    /// Seconds that it is still valid; nothing means forever.
    #[must_use]
    pub fn remaining(&self, now: BootTime) -> Option<u32> {
        let passed = u32::try_from(now.since(self.seen).as_secs()).unwrap_or(u32::MAX);
        self.valid.map(|valid| valid.saturating_sub(passed))
    }
}
