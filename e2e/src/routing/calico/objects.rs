//! Calico's objects: the fields that decide what BIRD exports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::Deserialize;

/// The AS number of a cluster without a `BGPConfiguration`.
pub(super) const DEFAULT_AS: u32 = 64512;

/// Everything that is the same for all nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calico {
    /// The address pools.
    pub pools: Vec<IpPool>,
    /// The object named `default`.
    pub configuration: BgpConfiguration,
    /// The routers to peer with.
    pub peers: Vec<BgpPeer>,
}

/// The spec of an `IPPool`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpPool {
    /// Its range.
    pub cidr: IpNetwork,
    /// Whether Calico's own address management stays away from it. Of no importance for BGP.
    #[serde(default)]
    pub disabled: bool,
    /// Whether nothing of it may be exported.
    #[serde(default, rename = "disableBGPExport")]
    pub disable_bgp_export: bool,
}

/// The spec of a `BGPConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpConfiguration {
    /// The AS number of all nodes; 64512 if not given.
    pub as_number: Option<u32>,
    /// The port BIRD listens on; 179 if not given.
    pub listen_port: Option<u16>,
    /// Whether every node peers with every other; yes if not given.
    pub node_to_node_mesh_enabled: Option<bool>,
    /// Named communities.
    #[serde(default)]
    pub communities: Vec<Community>,
    /// What to tag.
    #[serde(default)]
    pub prefix_advertisements: Vec<PrefixAdvertisement>,
}

impl BgpConfiguration {
    /// The AS number of all nodes.
    #[must_use]
    pub fn autonomous_system(&self) -> u32 {
        self.as_number.unwrap_or(DEFAULT_AS)
    }
}

/// A name for a community.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Community {
    /// The name.
    pub name: String,
    /// `aa:nn` or `aa:nn:mm`.
    pub value: String,
}

/// Communities for the routes within a range.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PrefixAdvertisement {
    /// The range.
    pub cidr: IpNetwork,
    /// Values or names.
    #[serde(default)]
    pub communities: Vec<String>,
}

/// The spec of a `BGPPeer`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpPeer {
    /// The router's address.
    #[serde(rename = "peerIP")]
    pub peer_ip: IpAddr,
    /// The router's AS number.
    pub as_number: u32,
    /// The one node that peers with it; all of them if not given.
    pub node: Option<String>,
}

/// A node as BGP sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeAddresses {
    /// The node's name.
    pub name: String,
    /// Its IPv4 address, which is its router id in both families.
    pub ipv4: Ipv4Addr,
    /// Its IPv6 address, if it has one.
    pub ipv6: Option<Ipv6Addr>,
}
