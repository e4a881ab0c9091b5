//! The files `wanted-SOURCE.json`: the peers that a source wants.
//!
//! ```json
//! {
//!   "version": 1,
//!   "shuttingDown": false,
//!   "peers": [
//!     {"address": "192.0.2.1"},
//!     {"address": "fe80::1", "interface": "eth0", "minimumIntervalMilliseconds": 100},
//!     {"address": "198.51.100.9", "hops": "multi", "minimumTtl": 250, "localAddress": "192.0.2.10"},
//!     {"address": "192.0.2.2", "role": "active", "intervalMilliseconds": 300, "multiplier": 3}
//!   ]
//! }
//! ```
//!
//! | Field | Default | Meaning |
//! |---|---|---|
//! | `version` | required | 1; a file of another version is no news |
//! | `shuttingDown` | `false` | the host goes down: the program ends without making its peers patient |
//! | `peers` | required | all peers of this source; one that is missing is not wanted any more |
//! | `address` | required | of the peer |
//! | `interface` | none | where its packets come in; required for a link-local address, which is single hop |
//! | `localAddress` | any | the only address of this node that the peer speaks with |
//! | `role` | `passive` | `passive` or `active` |
//! | `hops` | the peer chooses; `single` if active | `single` (port 3784) or `multi` (port 4784) |
//! | `minimumTtl` | 254 | least TTL or hop limit accepted on port 4784, 1 to 255 (port 3784 demands 255) |
//! | `minimumIntervalMilliseconds` | 50 | passive: both intervals that are offered, 10 to 60000; active: the least interval accepted from the peer |
//! | `intervalMilliseconds` | 300 | active: how often packets are sent, 10 to 60000 |
//! | `multiplier` | 3 | the peer's detection time is so many intervals, 1 to 50 |
//!
//! The writer replaces the file by renaming a finished one over it. It writes when what it wants has changed, and only
//! after it has read a whole list: a file says what is wanted, and the absence of one says nothing.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::peer::{Hops, Peer, PeerKey, Role, Settings};
use crate::timers::Intervals;

/// The version of the format.
pub const VERSION: u32 = 1;

/// No file is longer.
pub const MAX_BYTES: usize = 64 * 1024;

/// The name of a source's file.
///
/// # Examples
/// ```
/// assert_eq!(bfd::wanted::file_name("agent"), "wanted-agent.json");
/// ```
#[must_use]
pub fn file_name(source: &str) -> String {
    format!("wanted-{source}.json")
}

/// The source of a file of this name: small letters, digits and dashes, at most 32.
///
/// # Examples
/// ```
/// assert_eq!(bfd::wanted::source("wanted-agent.json"), Some("agent"));
/// assert_eq!(bfd::wanted::source("wanted-agent.json.new"), None);
/// ```
#[must_use]
pub fn source(file_name: &str) -> Option<&str> {
    let source = file_name.strip_prefix("wanted-")?.strip_suffix(".json")?;
    let fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&source.len()).then_some(source).filter(|source| source.bytes().all(fine))
}

/// What a source wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// [`VERSION`].
    pub version: u32,
    /// The host goes down.
    #[serde(default)]
    pub shutting_down: bool,
    /// All peers of the source.
    pub peers: Vec<WantedPeer>,
}

/// A peer in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedPeer {
    /// Of the peer.
    pub address: IpAddr,
    /// Where its packets come in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The only address of this node that it speaks with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_address: Option<IpAddr>,
    /// Who begins.
    #[serde(default)]
    pub role: Role,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<Hops>,
    /// On port 4784.
    #[serde(default = "default::minimum_ttl")]
    pub minimum_ttl: u8,
    /// See the table above.
    #[serde(default = "default::minimum_interval")]
    pub minimum_interval_milliseconds: u32,
    /// See the table above.
    #[serde(default = "default::interval")]
    pub interval_milliseconds: u32,
    /// Our Detect Mult.
    #[serde(default = "default::multiplier")]
    pub multiplier: u8,
}

impl WantedPeer {
    /// A passive peer with all defaults.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self {
            address,
            interface: None,
            local_address: None,
            role: Role::Passive,
            hops: None,
            minimum_ttl: default::minimum_ttl(),
            minimum_interval_milliseconds: default::minimum_interval(),
            interval_milliseconds: default::interval(),
            multiplier: default::multiplier(),
        }
    }
}

mod default {
    pub(super) const fn minimum_ttl() -> u8 {
        254
    }

    pub(super) const fn minimum_interval() -> u32 {
        50
    }

    pub(super) const fn interval() -> u32 {
        300
    }

    pub(super) const fn multiplier() -> u8 {
        3
    }
}

/// Why a file is no news.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Longer than [`MAX_BYTES`].
    #[error("the file has more than {MAX_BYTES} bytes")]
    Long,
    /// Not JSON, or not of this shape.
    #[error("the file is not what is expected: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version.
    #[error("the file has version {0}, this program reads version {VERSION}")]
    Version(u32),
    /// A peer that cannot be.
    #[error("peer {address}: {wrong}")]
    Peer {
        /// Of the peer.
        address: IpAddr,
        /// What is wrong.
        wrong: &'static str,
    },
}

impl Wanted {
    /// Peers of the present version.
    #[must_use]
    pub const fn new(peers: Vec<WantedPeer>) -> Self {
        Self { version: VERSION, shutting_down: false, peers }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is too long, no JSON, of another version, or names a peer that cannot be; see also [`Wanted::peers`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        if bytes.len() > MAX_BYTES {
            return Err(Unreadable::Long);
        }
        // First alone, so that a later format is called that and not malformed.
        let Versioned { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        let wanted: Self = serde_json::from_slice(bytes)?;
        wanted.peers()?;
        Ok(wanted)
    }

    /// The peers, checked. One that is wrong makes all of them no news: the writer has a defect, and what was served so far
    /// goes on.
    ///
    /// # Errors
    /// Says which peer is wrong.
    pub fn peers(&self) -> Result<Vec<Peer>, Unreadable> {
        self.peers.iter().map(peer).collect()
    }
}

fn peer(entry: &WantedPeer) -> Result<Peer, Unreadable> {
    let wrong = |wrong| Err(Unreadable::Peer { address: entry.address, wrong });
    let link_local = matches!(entry.address, IpAddr::V6(address) if address.is_unicast_link_local());
    let intervals = 10..=60_000;
    if entry.address.is_unspecified() || entry.address.is_multicast() {
        return wrong("no router has this address");
    }
    if entry.local_address.is_some_and(|local| local.is_ipv4() != entry.address.is_ipv4()) {
        return wrong("localAddress is of the other address family");
    }
    if entry.interface.as_deref().is_some_and(|name| !(1..=15).contains(&name.len()) || name.contains(['/', ' '])) {
        return wrong("interface is no name of an interface");
    }
    if link_local && entry.interface.is_none() {
        return wrong("a link-local address needs an interface");
    }
    if link_local && entry.hops == Some(Hops::Multi) {
        return wrong("a link-local address cannot be behind a router");
    }
    if entry.minimum_ttl == 0 {
        return wrong("minimumTtl must be 1 to 255");
    }
    if !intervals.contains(&entry.minimum_interval_milliseconds) {
        return wrong("minimumIntervalMilliseconds must be 10 to 60000");
    }
    if !intervals.contains(&entry.interval_milliseconds) {
        return wrong("intervalMilliseconds must be 10 to 60000");
    }
    if !(1..=50).contains(&entry.multiplier) {
        return wrong("multiplier must be 1 to 50");
    }
    let millis = |count: u32| Duration::from_millis(u64::from(count));
    let minimum = millis(entry.minimum_interval_milliseconds);
    let desired_min_tx = match entry.role {
        Role::Passive => minimum,
        Role::Active => millis(entry.interval_milliseconds),
    };
    let hops = match entry.role {
        _ if link_local => Some(Hops::Single),
        Role::Passive => entry.hops,
        Role::Active => Some(entry.hops.unwrap_or(Hops::Single)),
    };
    Ok(Peer {
        key: PeerKey { address: entry.address, interface: entry.interface.clone() },
        local_address: entry.local_address,
        hops,
        minimum_ttl: entry.minimum_ttl,
        settings: Settings {
            role: entry.role,
            intervals: Intervals { desired_min_tx, required_min_rx: minimum },
            multiplier: entry.multiplier,
        },
    })
}
