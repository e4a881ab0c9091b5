//! The settings of BFD in an LBNodeAgent, and what they mean once they are valid.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::interface_name::is_interface_name;

/// No node speaks BFD with more routers.
pub const MAX_PEERS: usize = 32;

/// How routers learn by BFD (RFC 5880) that this node has died. If it is absent, the routers of Calico's BGPPeer objects
/// are answered.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BfdSpec {
    /// What to do about the routers of Calico's BGPPeer objects that apply to the node. Defaults to `Passive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calico: Option<CalicoBfd>,
    /// Further routers, for other BGP programs than Calico's. They are answered as with `Passive`. An entry for a router of
    /// a BGPPeer replaces what would follow from the BGPPeer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub peers: Option<Vec<BfdPeerSpec>>,
    /// The shortest time between two packets in either direction, as a Go duration such as `50ms`, 10ms to 60s. A router
    /// that asks for less gets this. Defaults to `50ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_interval: Option<String>,
    /// After how many missing packets a router takes the node for dead, 1 to 50. Defaults to 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50))]
    pub multiplier: Option<i32>,
    /// The time between two packets of the node, as a Go duration, 10ms to 60s. It is used only with `calico: Active`;
    /// otherwise the router's own interval applies. Defaults to `300ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<String>,
}

/// What to do about the routers of Calico's BGPPeer objects that apply to the node. `Passive` answers each router that
/// speaks BFD, with the timers that it asks for, and sends nothing to the others. `Active` speaks first. `Disabled` ignores
/// them. Defaults to `Passive`.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CalicoBfd {
    /// Answer each router that speaks BFD, with the timers that it asks for, and send nothing to the others.
    #[default]
    Passive,
    /// Speak first, for routers that wait for the node.
    Active,
    /// Ignore the BGPPeer objects.
    Disabled,
}

/// A router.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BfdPeerSpec {
    /// The address from which the router sends, without port and interface.
    pub address: String,
    /// Whether the router uses BFD for several hops (UDP port 4784) or for one (UDP port 3784). If it is absent, both are
    /// answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multihop: Option<bool>,
    /// The interface on which the router is. A link-local address needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The least TTL or hop limit of packets on port 4784, 1 to 255. Each router on the way takes one off 255. Defaults to
    /// 254.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 255))]
    pub minimum_ttl: Option<i32>,
}

/// Why the settings of BFD cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("bfd.{field} {value:?}: {rule}")]
pub struct BfdConfigError {
    /// Path of the field below `spec.local.bfd`.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What is expected.
    pub rule: &'static str,
}

/// Which routers are answered by BFD, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdConfig {
    /// What to do about the routers of Calico's BGPPeer objects.
    pub calico: CalicoBfd,
    /// Further routers.
    pub peers: Vec<BfdPeer>,
    /// The shortest time between two packets in either direction, in milliseconds.
    pub minimum_interval: u32,
    /// After how many missing packets a router takes the node for dead.
    pub multiplier: u8,
    /// The time between two packets of the node that speaks first, in milliseconds.
    pub interval: u32,
}

/// A router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BfdPeer {
    /// The address from which it sends.
    pub address: IpAddr,
    /// Whether it uses BFD for several hops; `None`: as it likes.
    pub multihop: Option<bool>,
    /// The interface on which it is.
    pub interface: Option<String>,
    /// The least TTL or hop limit on port 4784.
    pub minimum_ttl: Option<u8>,
}

impl Default for BfdConfig {
    fn default() -> Self {
        let calico = CalicoBfd::default();
        Self { calico, peers: Vec::new(), minimum_interval: 50, multiplier: 3, interval: 300 }
    }
}

impl BfdConfig {
    /// Validates the settings.
    ///
    /// # Errors
    /// The first reason why they cannot be used.
    pub fn new(spec: &BfdSpec) -> Result<Self, BfdConfigError> {
        let default = Self::default();
        let peers = spec.peers.as_deref().unwrap_or_default();
        if peers.len() > MAX_PEERS {
            return wrong("peers", &peers.len(), "write at most 32 routers");
        }
        let peers = peers.iter().map(BfdPeer::new).collect::<Result<Vec<_>, _>>()?;
        let mut seen = BTreeSet::new();
        if let Some(twice) = peers.iter().find(|peer| !seen.insert((peer.address, peer.interface.as_deref()))) {
            return wrong("peers.address", &twice.address, "the router is listed twice, remove one entry");
        }
        let multiplier = spec.multiplier.unwrap_or(3);
        let Some(multiplier) = u8::try_from(multiplier).ok().filter(|count| (1..=50).contains(count)) else {
            return wrong("multiplier", &multiplier, "write a number from 1 to 50");
        };
        Ok(Self {
            calico: spec.calico.unwrap_or_default(),
            peers,
            minimum_interval: interval("minimumInterval", spec.minimum_interval.as_deref(), default.minimum_interval)?,
            multiplier,
            interval: interval("interval", spec.interval.as_deref(), default.interval)?,
        })
    }
}

impl BfdPeer {
    fn new(spec: &BfdPeerSpec) -> Result<Self, BfdConfigError> {
        let Ok(address) = spec.address.trim().parse::<IpAddr>() else {
            return wrong("peers.address", &spec.address, "this is no IP address");
        };
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            return wrong("peers.address", &address, "no router has this address");
        }
        if let Some(name) = spec.interface.as_deref().filter(|name| !is_interface_name(name)) {
            let rule = "this is no interface name: write 1 to 15 characters without slash, colon and blank";
            return wrong("peers.interface", name, rule);
        }
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        if link_local && spec.interface.is_none() {
            return wrong("peers.address", &address, "a link-local address needs an interface");
        }
        if link_local && spec.multihop == Some(true) {
            return wrong("peers.address", &address, "a link-local address cannot be several hops away");
        }
        let minimum_ttl = match spec.minimum_ttl.map(|ttl| (ttl, u8::try_from(ttl))) {
            None => None,
            Some((_, Ok(ttl))) if ttl > 0 => Some(ttl),
            Some((ttl, _)) => return wrong("peers.minimumTtl", &ttl, "write a number from 1 to 255"),
        };
        Ok(Self { address, multihop: spec.multihop, interface: spec.interface.clone(), minimum_ttl })
    }
}

fn wrong<T>(field: &'static str, value: &(impl ToString + ?Sized), rule: &'static str) -> Result<T, BfdConfigError> {
    Err(BfdConfigError { field, value: value.to_string(), rule })
}

/// Milliseconds of a Go duration.
fn interval(field: &'static str, text: Option<&str>, default: u32) -> Result<u32, BfdConfigError> {
    let Some(text) = text else { return Ok(default) };
    let duration = text.parse::<kube::core::Duration>().ok().filter(|duration| !duration.is_negative());
    let millis = duration.and_then(|duration| u32::try_from(Duration::from(duration).as_millis()).ok());
    match millis.filter(|millis| (10..=60_000).contains(millis)) {
        Some(millis) => Ok(millis),
        None => wrong(field, text, "write a duration from 10ms to 60s, such as 300ms"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(spec: Value) -> Result<BfdConfig, BfdConfigError> {
        BfdConfig::new(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn an_empty_specification_means_the_defaults() {
        assert_eq!(config(json!({})).unwrap(), BfdConfig::default());
        let written = json!({"calico": "Passive", "minimumInterval": "50ms", "multiplier": 3, "interval": "0.3s"});
        assert_eq!(config(written).unwrap(), BfdConfig::default());
    }

    #[test]
    fn routers_are_read() {
        let config = config(json!({"calico": "Disabled", "peers": [
            {"address": "192.0.2.1", "multihop": true, "minimumTtl": 250}, {"address": "fe80::1", "interface": "eth0"}
        ]}));
        let peers = config.unwrap().peers;
        assert_eq!((peers[0].multihop, peers[0].minimum_ttl), (Some(true), Some(250)));
        assert_eq!((peers[1].multihop, peers[1].interface.as_deref()), (None, Some("eth0")));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_place() {
        for (bad, place) in [
            (json!({"multiplier": 0}), "bfd.multiplier \"0\""),
            (json!({"multiplier": 51}), "bfd.multiplier"),
            (json!({"interval": "9ms"}), "bfd.interval \"9ms\""),
            (json!({"interval": "-1s"}), "bfd.interval"),
            (json!({"minimumInterval": "soon"}), "bfd.minimumInterval"),
            (json!({"minimumInterval": "61s"}), "bfd.minimumInterval"),
            (json!({"peers": [{"address": "router"}]}), "bfd.peers.address"),
            (json!({"peers": [{"address": "192.0.2.1:179"}]}), "bfd.peers.address"),
            (json!({"peers": [{"address": "ff02::1"}]}), "bfd.peers.address"),
            (json!({"peers": [{"address": "fe80::1"}]}), "bfd.peers.address"),
            (json!({"peers": [{"address": "fe80::1", "interface": "eth0", "multihop": true}]}), "bfd.peers.address"),
            (json!({"peers": [{"address": "192.0.2.1", "interface": "a/b"}]}), "bfd.peers.interface"),
            (json!({"peers": [{"address": "192.0.2.1", "minimumTtl": 256}]}), "bfd.peers.minimumTtl"),
            (json!({"peers": [{"address": "192.0.2.1"}, {"address": "192.0.2.1"}]}), "bfd.peers.address"),
            (json!({"peers": vec![json!({"address": "192.0.2.1"}); 33]}), "bfd.peers \"33\""),
        ] {
            let error = config(bad.clone()).unwrap_err().to_string();
            assert!(error.starts_with(place), "{bad}: {error}");
        }
    }
}
