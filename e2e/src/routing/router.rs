//! The top-of-rack router: what it has learned by BGP.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Deref,
    time::Duration,
};

use ipnetwork::IpNetwork;
use serde::Deserialize;

use api_types::Family;

use crate::{
    base::error::{Result, unexpected},
    hosts::host::Host,
    topology::{family::FamilyNames as _, host_id::HostId, layout::Layout},
};

/// Where BGP is configured.
const BGP: &str = "router bgp 64600";

/// The router of a cluster. It is a [`Host`], and knows the routes that it has learned by BGP.
#[derive(Clone, Debug)]
pub struct Router {
    host: Host,
}

impl Deref for Router {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

/// A prefix that was learned by BGP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpRoute {
    /// The prefix.
    pub prefix: IpNetwork,
    /// All next hops that are in use, global addresses for IPv6 too.
    pub next_hops: BTreeSet<IpAddr>,
    /// All communities of the paths in use: `100:100`, and large ones as `64512:1:2`.
    pub communities: BTreeSet<String>,
}

impl Router {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { host: Host::new(layout, HostId::Router) }
    }

    /// Runs a command of FRR's shell, and returns its output.
    ///
    /// # Errors
    /// FRR does not understand it.
    pub fn vtysh(&self, line: &str) -> Result<String> {
        self.exec(&["vtysh", "-c", line])
    }

    /// Has BGP with each of these nodes' addresses follow BFD with these timers, until the result is dropped.
    ///
    /// # Errors
    /// FRR does not understand it.
    pub fn follow_bfd(&self, nodes: &[IpAddr], interval: Duration, multiplier: u8) -> Result<FollowedBfd> {
        let followed = FollowedBfd { router: self.clone(), nodes: nodes.to_vec() };
        let milliseconds = interval.as_millis();
        // Of its own for each set of timers: nodes' addresses may be followed with different ones at the same time.
        let profile = format!("lab-{milliseconds}-{multiplier}");
        let in_profile = |line: &str| self.configure(&["bfd", &format!("profile {profile}"), line]);
        in_profile(&format!("transmit-interval {milliseconds}"))?;
        in_profile(&format!("receive-interval {milliseconds}"))?;
        in_profile(&format!("detect-multiplier {multiplier}"))?;
        for node in nodes {
            self.configure(&[BGP, &format!("neighbor {node} bfd")])?;
            self.configure(&[BGP, &format!("neighbor {node} bfd profile {profile}")])?;
        }
        Ok(followed)
    }

    /// Runs lines of FRR's configuration.
    ///
    /// # Errors
    /// FRR does not understand one.
    pub fn configure(&self, lines: &[&str]) -> Result<()> {
        let mut command = vec!["vtysh", "-c", "configure terminal"];
        for line in lines {
            command.extend(["-c", *line]);
        }
        self.exec(&command).map(drop)
    }

    /// The BFD sessions, by the nodes' addresses.
    ///
    /// # Errors
    /// FRR does not answer.
    pub fn bfd_sessions(&self) -> Result<BTreeMap<IpAddr, BfdSession>> {
        parse_bfd(&self.vtysh("show bfd peers json")?)
    }

    /// How often each BFD session with the nodes' addresses has gone down.
    ///
    /// # Errors
    /// FRR does not answer.
    pub fn bfd_losses(&self) -> Result<BTreeMap<IpAddr, u64>> {
        parse_bfd_losses(&self.vtysh("show bfd peers counters json")?)
    }

    /// How often each BGP session with the nodes' addresses has ended.
    ///
    /// # Errors
    /// FRR does not answer.
    pub fn resets(&self) -> Result<BTreeMap<IpAddr, u64>> {
        parse_resets(&self.vtysh("show bgp neighbors json")?)
    }

    /// The BGP routes that are in use, in the order of their prefixes.
    ///
    /// # Errors
    /// FRR does not answer.
    pub fn routes(&self, family: Family) -> Result<Vec<BgpRoute>> {
        parse_routes(&self.vtysh(&format!("show bgp {} json detail", family.frr()))?)
    }

    /// The route for exactly this prefix, which may be written as a bare address; `None` when there is none.
    ///
    /// # Errors
    /// FRR does not answer.
    pub fn route(&self, prefix: impl Into<IpNetwork>) -> Result<Option<BgpRoute>> {
        let prefix = prefix.into();
        Ok(self.routes(Family::of(prefix.ip()))?.into_iter().find(|route| route.prefix == prefix))
    }

    /// The nodes' addresses with which a BGP session is established.
    ///
    /// # Errors
    /// FRR does not answer.
    pub fn sessions(&self) -> Result<BTreeSet<IpAddr>> {
        parse_sessions(&self.vtysh("show bgp neighbors json")?)
    }
}

/// BGP sessions that follow BFD.
#[derive(Debug)]
#[must_use = "they follow it no longer when this is dropped"]
pub struct FollowedBfd {
    router: Router,
    nodes: Vec<IpAddr>,
}

impl Drop for FollowedBfd {
    fn drop(&mut self) {
        for node in &self.nodes {
            if let Err(error) = self.router.configure(&[BGP, &format!("no neighbor {node} bfd")]) {
                eprintln!("clean-up: {error}");
            }
        }
    }
}

/// A BFD session as the router has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BfdSession {
    /// `up`, `down` or `init`.
    pub status: String,
    /// The discriminator of the node; another one means another session.
    #[serde(default, rename = "remote-id")]
    pub remote_id: u32,
    /// The router's receive interval in milliseconds.
    #[serde(default, rename = "receive-interval")]
    pub receive_interval: u64,
}

fn parse_bfd(text: &str) -> Result<BTreeMap<IpAddr, BfdSession>> {
    #[derive(Deserialize)]
    struct Peer {
        peer: IpAddr,
        #[serde(flatten)]
        session: BfdSession,
    }
    let peers: Vec<Peer> = serde_json::from_str(text).map_err(|error| unexpected("FRR's BFD peers", error))?;
    Ok(peers.into_iter().map(|peer| (peer.peer, peer.session)).collect())
}

fn parse_bfd_losses(text: &str) -> Result<BTreeMap<IpAddr, u64>> {
    #[derive(Deserialize)]
    struct Peer {
        peer: IpAddr,
        #[serde(default, rename = "session-down")]
        downs: u64,
    }
    let peers: Vec<Peer> = serde_json::from_str(text).map_err(|error| unexpected("FRR's BFD counters", error))?;
    Ok(peers.into_iter().map(|peer| (peer.peer, peer.downs)).collect())
}

fn parse_resets(text: &str) -> Result<BTreeMap<IpAddr, u64>> {
    let all: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| unexpected("FRR's neighbors", error))?;
    let dropped = |value: &serde_json::Value| value.get("connectionsDropped").and_then(serde_json::Value::as_u64);
    Ok(all.iter().filter_map(|(name, value)| Some((name.parse().ok()?, dropped(value)?))).collect())
}

fn parse_sessions(text: &str) -> Result<BTreeSet<IpAddr>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Neighbor {
        bgp_state: String,
    }
    let all: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| unexpected("FRR's neighbors", error))?;
    let sessions = all.into_iter().filter_map(|(name, value)| {
        // Besides the neighbors there are other things on this level.
        let neighbor: Neighbor = serde_json::from_value(value).ok()?;
        let address = name.parse().ok()?;
        (neighbor.bgp_state == "Established").then_some(address)
    });
    Ok(sessions.collect())
}

/// The table as FRR prints it.
#[derive(Deserialize)]
struct Table {
    #[serde(default)]
    routes: BTreeMap<IpNetwork, Vec<Path>>,
}

/// One path to a prefix. The first entry of each prefix is none, but a summary without these fields.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Path {
    multipath: bool,
    bestpath: BestPath,
    community: Communities,
    large_community: Communities,
    nexthops: Vec<PathNextHop>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BestPath {
    overall: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Communities {
    list: Vec<String>,
}

#[derive(Deserialize)]
struct PathNextHop {
    ip: IpAddr,
    #[serde(default)]
    scope: String,
}

fn parse_routes(text: &str) -> Result<Vec<BgpRoute>> {
    let table: Table = serde_json::from_str(text).map_err(|error| unexpected("FRR's routes", error))?;
    let routes = table.routes.into_iter().filter_map(|(prefix, paths)| {
        let mut route = BgpRoute { prefix, next_hops: BTreeSet::new(), communities: BTreeSet::new() };
        for path in paths.into_iter().filter(|path| path.multipath || path.bestpath.overall) {
            // IPv6 routers also give their link-local address, which does not identify a node here.
            let hops = path.nexthops.iter().filter(|hop| hop.scope != "link-local");
            route.next_hops.extend(hops.map(|hop| hop.ip));
            route.communities.extend(path.community.list.into_iter().chain(path.large_community.list));
        }
        (!route.next_hops.is_empty()).then_some(route)
    });
    Ok(routes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_multipath_routes_with_communities() {
        let text = r#"{"vrfId": 0, "routerId": "192.168.50.1", "routes": {"172.30.200.155/32": [
            {"prefix": "172.30.200.155/32", "version": 1, "advertisedTo": {"192.168.50.11": {}}},
            {"valid": true, "multipath": true, "community": {"string": "100:100", "list": ["100:100"]},
             "nexthops": [{"ip": "192.168.50.12", "afi": "ipv4", "used": true}]},
            {"valid": true, "multipath": true, "bestpath": {"overall": true, "selectionReason": "Router ID"},
             "community": {"list": ["100:100"]}, "largeCommunity": {"list": ["64512:1:2"]},
             "nexthops": [{"ip": "192.168.50.11", "afi": "ipv4", "used": true}]},
            {"valid": true, "nexthops": [{"ip": "192.168.50.13", "afi": "ipv4"}]}]}}"#;
        let [route] = parse_routes(text).unwrap().try_into().unwrap();
        let hops: Vec<_> = route.next_hops.iter().map(ToString::to_string).collect();
        assert_eq!(hops, ["192.168.50.11", "192.168.50.12"]);
        assert_eq!(route.communities.iter().collect::<Vec<_>>(), ["100:100", "64512:1:2"]);
    }

    #[test]
    fn prefers_global_next_hops() {
        let text = r#"{"routes": {"2001:db8::1/128": [{"bestpath": {"overall": true}, "nexthops": [
            {"ip": "fd00:50::11", "scope": "global"}, {"ip": "fe80::1", "scope": "link-local", "used": true}]}]}}"#;
        let [route] = parse_routes(text).unwrap().try_into().unwrap();
        assert_eq!(route.next_hops, BTreeSet::from(["fd00:50::11".parse().unwrap()]));
        assert!(route.communities.is_empty());
    }

    #[test]
    fn an_empty_table_has_no_routes() {
        assert!(parse_routes("{}").unwrap().is_empty());
        parse_routes("% Unknown command").unwrap_err();
    }

    #[test]
    fn reads_bfd_sessions_and_resets() {
        let text = r#"[{"multihop": false, "peer": "192.168.50.11", "local": "192.168.50.1", "vrf": "default",
            "id": 3, "remote-id": 9, "status": "up", "uptime": 4, "receive-interval": 300, "remote-receive-interval": 50},
            {"peer": "fd00:50::11", "status": "down"}]"#;
        let sessions = parse_bfd(text).unwrap();
        let up = BfdSession { status: "up".into(), remote_id: 9, receive_interval: 300 };
        assert_eq!(sessions[&"192.168.50.11".parse::<IpAddr>().unwrap()], up);
        assert_eq!(sessions[&"fd00:50::11".parse::<IpAddr>().unwrap()].status, "down");
        let text = r#"{"192.168.50.11": {"bgpState": "Established", "connectionsDropped": 2}, "vrfId": 0}"#;
        assert_eq!(parse_resets(text).unwrap(), [("192.168.50.11".parse().unwrap(), 2)].into());
        let text = r#"[{"multihop": false, "peer": "192.168.50.11", "vrf": "default", "control-packet-input": 9,
            "session-up": 2, "session-down": 1}]"#;
        assert_eq!(parse_bfd_losses(text).unwrap(), [("192.168.50.11".parse().unwrap(), 1)].into());
    }

    #[test]
    fn counts_established_sessions_only() {
        let text = r#"{"192.168.50.11": {"bgpState": "Established"}, "192.168.50.12": {"bgpState": "Active"},
            "vrfId": 0}"#;
        assert_eq!(parse_sessions(text).unwrap(), BTreeSet::from(["192.168.50.11".parse().unwrap()]));
    }
}
