//! A wanted peer, and the union of what several sources want.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::timers::Intervals;

/// No more peers are served, and no more sessions exist.
pub const MAX_SESSIONS: usize = 32;

/// Who begins (RFC 5880 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Silent until the peer speaks.
    #[default]
    Passive,
    /// Speaks first.
    Active,
}

/// How far a peer may be, which is also the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hops {
    /// A neighbour on a link (RFC 5881): port 3784, TTL 255.
    Single,
    /// Behind routers, or a neighbour that is treated so (RFC 5883): port 4784, a least TTL per peer.
    Multi,
}

impl Hops {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Single, Self::Multi];

    /// The UDP port that receives.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Single => 3784,
            Self::Multi => 4784,
        }
    }
}

/// What a session follows and what may change while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Who begins.
    pub role: Role,
    /// While Up.
    pub intervals: Intervals,
    /// Our Detect Mult, at least 1.
    pub multiplier: u8,
}

/// What names a peer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerKey {
    /// The peer's address.
    pub address: IpAddr,
    /// The interface its packets come in on; a link-local address needs one.
    pub interface: Option<String>,
}

/// A peer that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub key: PeerKey,
    /// The address of this node that it speaks with; `None`: whichever it chooses.
    pub local_address: Option<IpAddr>,
    /// How far it may be; `None`: it chooses the port. Always given for an active one.
    pub hops: Option<Hops>,
    /// The least TTL or hop limit of its packets to the multihop port.
    pub minimum_ttl: u8,
    /// For its sessions.
    pub settings: Settings,
}

impl Peer {
    /// Whether a session of this kind is allowed.
    #[must_use]
    pub fn allows(&self, hops: Hops) -> bool {
        self.hops.is_none_or(|own| own == hops)
    }
}

/// The peers of all sources, each once, with the names of those that want it.
///
/// Where sources disagree about a peer, the first by name decides, but for two things: the session is active if one of
/// them wants that, and the port is left to the peer if they name different ones.
#[must_use]
pub fn union<'a>(sources: impl IntoIterator<Item = (&'a str, &'a [Peer])>) -> Vec<(Peer, Vec<String>)> {
    let mut all = BTreeMap::<PeerKey, (Peer, Vec<String>)>::new();
    for (source, peers) in sources {
        for peer in peers {
            let Some((first, names)) = all.get_mut(&peer.key) else {
                all.insert(peer.key.clone(), (peer.clone(), vec![source.to_owned()]));
                continue;
            };
            if peer.settings.role == Role::Active && first.settings.role == Role::Passive {
                first.settings = peer.settings;
                first.hops = peer.hops;
            } else if peer.settings.role == Role::Passive
                && first.settings.role == Role::Passive
                && first.hops != peer.hops
            {
                first.hops = None;
            }
            names.push(source.to_owned());
        }
    }
    all.into_values().collect()
}
