//! Where on this node an address goes.

use api_types::AddressAttributes;
use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::model::address::AddressKey;

/// How an address is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// On a network interface of its owner alone.
    Local,
    /// On the dummy interface of every node.
    Remote,
}

/// Where on this node an address goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// How it is announced.
    pub kind: Kind,
    /// The interface and the prefix length.
    pub key: AddressKey,
    /// The prefix length of the aggregate that is announced beside a host route.
    pub aggregate: Option<u8>,
    /// Lifetimes and flags.
    pub attributes: AddressAttributes,
}

impl Placement {
    /// The aggregate that is announced beside the address.
    #[must_use]
    pub fn aggregate_network(&self) -> Option<IpNetwork> {
        AddressKey { prefix_len: self.aggregate?, ..self.key }.network()
    }

    /// IPv4: the same address with the prefix length of its aggregate.
    #[must_use]
    pub fn aggregate_beside(&self) -> Option<Self> {
        let prefix_len = self.aggregate.filter(|_| self.key.ip.is_ipv4())?;
        Some(Self { key: AddressKey { prefix_len, ..self.key }, aggregate: None, ..*self })
    }
}
