//! What a simulated cluster is made of.

use std::net::IpAddr;
use std::time::Duration;

use ownership::{FailureDetection, this_node};

/// Which addresses a cluster has: of nodes, gateway, client, gossip, and Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    #[default]
    V4,
    V6,
    /// Both; the even VIPs are IPv4, the odd ones IPv6.
    Dual,
}

impl Family {
    pub const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Dual];

    /// Each third seed the same.
    pub fn of(seed: u64) -> Self {
        Self::ALL[usize::try_from(seed % 3).unwrap()]
    }

    pub fn has(self, address: &IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Dual => true,
        }
    }
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a cluster")]
pub struct Setup {
    pub nodes: usize,
    pub vips: usize,
    pub family: Family,
    /// Gossip has a network of its own (segment 1).
    pub two_networks: bool,
    pub gateway: bool,
    /// The gateway is a route to nowhere.
    pub silent_gateway: bool,
    /// The switch carries no questions to the solicited-node groups of VIPs (snooping of a wrong mind).
    pub snooping: bool,
    /// The switch answers questions to everybody from its cache, and does not pass them on (ARP suppression).
    pub suppressing: bool,
    /// `skip-ipv6-dad` on all Services.
    pub skip_probe: bool,
    pub client: bool,
    pub probe_interval: Duration,
    pub frames_per_second: u32,
    pub failure_detection: FailureDetection,
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 3,
            vips: 3,
            family: Family::V4,
            two_networks: false,
            gateway: true,
            silent_gateway: false,
            snooping: false,
            suppressing: false,
            skip_probe: false,
            client: true,
            probe_interval: this_node::PROBE_INTERVAL,
            frames_per_second: 2000,
            failure_detection: FailureDetection::default(),
            seed: 1,
        }
    }
}
