//! The sharing key and the ports of a Service, and when two Services may share an address.

use std::fmt;

use api_types::SharingKey;
use serde::Deserialize;

/// The transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, also when the field is empty.
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

    /// Its name in small letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port that a Service listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port {
    /// Its protocol. Two Services may share a number in different protocols.
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

/// A port of `spec.ports`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SpecPort {
    port: i64,
    protocol: Option<String>,
}

/// The ports of `spec.ports`.
pub(super) fn ports(list: Option<&[SpecPort]>) -> Box<[Port]> {
    let read = |port: &SpecPort| {
        let number = u16::try_from(port.port).ok()?;
        Some(Port { protocol: Protocol::from_api(port.protocol.as_deref()), number })
    };
    list.unwrap_or_default().iter().filter_map(read).collect()
}

/// What decides whether a Service may share its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sharing {
    /// Its sharing key.
    pub key: Option<SharingKey>,
    /// Its ports.
    pub ports: Box<[Port]>,
}

impl Sharing {
    /// Why two Services cannot share an address; `None` if they can.
    #[must_use]
    pub fn conflict(&self, other: &Self) -> Option<SharingConflict> {
        if self.key.is_none() || self.key != other.key {
            return Some(SharingConflict::Key);
        }
        self.ports.iter().find(|port| other.ports.contains(port)).copied().map(SharingConflict::Port)
    }
}

/// Why two Services cannot share an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharingConflict {
    /// They do not have the same key, or neither has one.
    Key,
    /// Both listen on this port.
    Port(Port),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sharing(key: &str, ports: &[(Protocol, u16)]) -> Sharing {
        let ports = ports.iter().map(|&(protocol, number)| Port { protocol, number }).collect();
        Sharing { key: SharingKey::new(key), ports }
    }

    #[test]
    fn the_same_key_and_other_ports_share() {
        let web = sharing("k", &[(Protocol::Tcp, 80)]);
        assert_eq!(web.conflict(&sharing("k", &[(Protocol::Udp, 80)])), None);
        assert_eq!(web.conflict(&sharing("x", &[(Protocol::Udp, 80)])), Some(SharingConflict::Key));
        assert_eq!(sharing("", &[]).conflict(&sharing("", &[])), Some(SharingConflict::Key));
        let port = Port { protocol: Protocol::Tcp, number: 80 };
        assert_eq!(
            web.conflict(&sharing("k", &[(Protocol::Tcp, 443), (Protocol::Tcp, 80)])),
            Some(SharingConflict::Port(port))
        );
    }
}
