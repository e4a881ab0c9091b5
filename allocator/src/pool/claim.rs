//! What a holder of an address says about sharing it.

use std::fmt;
use std::net::IpAddr;

use api_types::SharingKey;
use thiserror::Error;

/// The transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, also when nothing is said.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Reads `spec.ports[].protocol`.
    #[must_use]
    pub fn from_api(text: Option<&str>) -> Self {
        match text {
            Some("UDP") => Self::Udp,
            Some("SCTP") => Self::Sctp,
            _ => Self::Tcp,
        }
    }
}

/// A port that a Service listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// Its protocol; the same number is free in another.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        };
        write!(f, "{protocol}/{}", self.number)
    }
}

/// What a Service says about sharing its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// Its sharing key.
    pub key: Option<SharingKey>,
    /// Its ports.
    pub ports: Box<[Port]>,
}

impl Claim {
    /// Why both cannot have one address; nothing if they can.
    #[must_use]
    pub fn conflict(&self, other: &Self) -> Option<Conflict> {
        if self.key.is_none() || self.key != other.key {
            return Some(Conflict::Key);
        }
        self.ports.iter().find(|port| other.ports.contains(port)).copied().map(Conflict::Port)
    }
}

/// Why two Services cannot have one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// They have not the same key, or none.
    Key,
    /// Both want this port.
    Port(Port),
}

/// Why a Service cannot have an address (specification, allocation.md 7).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Its key is in use for another address of the group.
    #[error("sharing key {key:?} is already bound to {bound} in this group, so {address} cannot be used with it")]
    KeyElsewhere {
        /// The key.
        key: String,
        /// Where it is bound.
        bound: IpAddr,
        /// What was asked.
        address: IpAddr,
    },
    /// Somebody without the same key holds it.
    #[error(
        "can't change sharing key of {address}, which is already in use: also in use by {holder}, and sharing needs the same annotation purelb.io/allow-shared-ip on both"
    )]
    Taken {
        /// What was asked.
        address: IpAddr,
        /// Who holds it.
        holder: String,
    },
    /// Another sharer has one of its ports.
    #[error("port {port} is already in use by {holder} on {address}")]
    Port {
        /// The port.
        port: Port,
        /// Who has it.
        holder: String,
        /// What was asked.
        address: IpAddr,
    },
}

impl Refusal {
    /// The value of the label `reason` of `purelb_address_pool_allocation_rejected_total`.
    #[must_use]
    pub const fn metric(&self) -> &'static str {
        match self {
            Self::KeyElsewhere { .. } | Self::Taken { .. } => "sharing_key_conflict",
            Self::Port { .. } => "port_conflict",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(key: &str, ports: &[(Protocol, u16)]) -> Claim {
        let ports = ports.iter().map(|&(protocol, number)| Port { protocol, number }).collect();
        Claim { key: SharingKey::new(key), ports }
    }

    #[test]
    fn the_same_key_and_other_ports_share() {
        let web = claim("k", &[(Protocol::Tcp, 80)]);
        assert_eq!(web.conflict(&claim("k", &[(Protocol::Udp, 80)])), None);
        assert_eq!(web.conflict(&claim("x", &[(Protocol::Udp, 80)])), Some(Conflict::Key));
        assert_eq!(claim("", &[]).conflict(&claim("", &[])), Some(Conflict::Key));
        let port = Port { protocol: Protocol::Tcp, number: 80 };
        assert_eq!(web.conflict(&claim("k", &[(Protocol::Tcp, 443), (Protocol::Tcp, 80)])), Some(Conflict::Port(port)));
    }
}
