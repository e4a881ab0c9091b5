//! The state file of the other members: a restarted agent meets them again, also while the API server is down.
//!
//! It has one line of JSON for each member and lies on a tmpfs, like the claims. Two agents that restart without an API
//! server and hold the same address could not settle whose it is if they did not know each other.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ownership::{InterfaceAddress, Mac, NodeId, Peer};
use serde::{Deserialize, Serialize};

use crate::plan::record::replace;

/// The state file.
#[derive(Debug)]
pub struct Members {
    path: PathBuf,
    written: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    node: String,
    endpoints: Vec<SocketAddr>,
    places: Vec<(IpAddr, u8)>,
    macs: Vec<[u8; 6]>,
    wire: u16,
}

impl Members {
    /// The file in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join("members"), written: String::new() }
    }

    /// Reads it. Lines that cannot be understood are ignored, and a missing file counts as empty. Whether the members
    /// live, it does not say.
    #[must_use]
    pub fn load(&self) -> Vec<Peer> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(parse).collect()
    }

    /// Writes it as a whole, or not at all, if anything but the state of the Leases changed. That the directory cannot be
    /// written is said where the claims are.
    pub fn save(&mut self, peers: &[Peer]) {
        let lines = peers.iter().filter_map(|peer| serde_json::to_string(&Line::from(peer)).ok());
        let text: String = lines.map(|line| line + "\n").collect();
        if text != self.written && replace(&self.path, &text).is_ok() {
            self.written = text;
        }
    }
}

impl From<&Peer> for Line {
    fn from(peer: &Peer) -> Self {
        Self {
            node: peer.node.to_string(),
            endpoints: peer.endpoints.clone(),
            places: peer.places.iter().map(|place| (place.address, place.subnet.prefix())).collect(),
            macs: peer.macs.iter().map(|mac| mac.0).collect(),
            wire: peer.wire_version,
        }
    }
}

fn parse(line: &str) -> Option<Peer> {
    let Line { node, endpoints, places, macs, wire } = serde_json::from_str(line).ok()?;
    Some(Peer {
        node: NodeId::new(&node)?,
        endpoints,
        places: places.into_iter().filter_map(|(address, prefix)| InterfaceAddress::new(address, prefix)).collect(),
        macs: macs.into_iter().map(Mac).collect(),
        lease_alive: false,
        wire_version: wire,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_back() {
        let directory = std::env::temp_dir().join(format!("lbnodeagent-members-{}", std::process::id()));
        let mut members = Members::new(&directory);
        assert!(members.load().is_empty());
        let peer = Peer {
            node: NodeId::new("node-a").unwrap(),
            endpoints: vec!["192.0.2.1:7475".parse().unwrap(), "[2001:db8::1]:7475".parse().unwrap()],
            places: vec![InterfaceAddress::new("192.0.2.1".parse().unwrap(), 24).unwrap()],
            macs: vec![Mac([2, 0, 0, 0, 0, 1])],
            lease_alive: false,
            wire_version: 2,
        };
        members.save(std::slice::from_ref(&peer));
        assert_eq!(members.load(), [peer]);
        std::fs::write(&members.path, "nonsense\n{\"node\": \"node-a\"}\n").unwrap();
        assert!(members.load().is_empty());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
