//! The peers that are wanted: those of the configuration and those of Calico.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ::bfd::wanted::WantedPeer;
use ::bfd::{Hops, Role, Wanted};
use api_types::{BfdConfig, BfdPeer, CalicoBfd};
use calico::{Labels, Router};
use runtime::BootTime;

/// How long a peer that is not named any more stays: an object that is deleted and made again ends no session.
pub const GRACE: Duration = Duration::from_secs(5);

/// The least TTL that is accepted on port 4784 unless something else is configured: one router on the way.
const ONE_ROUTER: u8 = 254;

type Key = (IpAddr, Option<String>);

/// A peer, and why it is here.
#[derive(Debug)]
struct Entry {
    peer: WantedPeer,
    /// An earlier run wanted it, and nothing has named it in this one.
    resumed: bool,
    /// Since when nothing names it.
    unnamed: Option<BootTime>,
}

/// The peers that are wanted.
#[derive(Debug, Default)]
pub struct Peers {
    entries: BTreeMap<Key, Entry>,
}

impl Peers {
    /// As an earlier run of the agent wanted them.
    #[must_use]
    pub fn resume(before: Vec<WantedPeer>) -> Self {
        let entry = |peer: WantedPeer| (key(&peer), Entry { peer, resumed: true, unnamed: None });
        Self { entries: before.into_iter().map(entry).collect() }
    }

    /// Takes over the configuration and the routers of this node, and whether those are all. If others may exist, because
    /// some of Calico's objects were not read, the peers known from an earlier run stay.
    pub fn update(
        &mut self,
        config: &BfdConfig,
        (routers, all): (&[&Router], bool),
        annotations: &Labels,
        now: BootTime,
    ) {
        let mut named: BTreeMap<Key, WantedPeer> = BTreeMap::new();
        let (routers, all) = if config.calico == CalicoBfd::Disabled { (&[][..], true) } else { (routers, all) };
        for router in routers {
            let peer = of_calico(config, router, annotations);
            if usable(&peer) {
                named.insert(key(&peer), peer);
            }
        }
        for peer in config.peers.iter().map(|peer| of_configuration(config, peer)).filter(usable) {
            named.insert(key(&peer), peer);
        }
        self.entries.retain(|key, entry| {
            if (entry.resumed && !all) || named.contains_key(key) {
                entry.unnamed = None;
                return true;
            }
            now.since(*entry.unnamed.get_or_insert(now)) < GRACE
        });
        for (key, peer) in named {
            self.entries.insert(key, Entry { peer, resumed: false, unnamed: None });
        }
    }

    /// What the file is to say.
    #[must_use]
    pub fn wanted(&self, shutting_down: bool) -> Wanted {
        let peers = self.entries.values().map(|entry| entry.peer.clone()).collect();
        Wanted { shutting_down, ..Wanted::new(peers) }
    }
}

fn key(peer: &WantedPeer) -> Key {
    (peer.address, peer.interface.clone())
}

/// A peer that the program would refuse would make the whole file useless.
fn usable(peer: &WantedPeer) -> bool {
    let checked = Wanted::new(vec![peer.clone()]).peers();
    if let Err(error) = &checked {
        tracing::debug!(op = "bfd", %error, "not wanted");
    }
    checked.is_ok()
}

fn peer(config: &BfdConfig, address: IpAddr) -> WantedPeer {
    WantedPeer {
        minimum_interval_milliseconds: config.minimum_interval,
        interval_milliseconds: config.interval,
        multiplier: config.multiplier,
        ..WantedPeer::new(address)
    }
}

fn of_calico(config: &BfdConfig, router: &Router, annotations: &Labels) -> WantedPeer {
    let far = router.ttl_security.filter(|hops| *hops > 1);
    let link_local = matches!(router.address, IpAddr::V6(address) if address.is_unicast_link_local());
    let from = router.from_node_address && !link_local;
    WantedPeer {
        interface: router.interface.clone(),
        local_address: from.then(|| calico::node::address(annotations, router.address)).flatten(),
        role: if config.calico == CalicoBfd::Active { Role::Active } else { Role::Passive },
        // A passive node answers on the port that the router chooses.
        hops: far.filter(|_| config.calico == CalicoBfd::Active && !link_local).map(|_| Hops::Multi),
        // Each router on the way takes one off 255.
        minimum_ttl: far.map_or(ONE_ROUTER, |hops| (u8::MAX - hops).saturating_add(1).min(ONE_ROUTER)),
        ..peer(config, router.address)
    }
}

fn of_configuration(config: &BfdConfig, configured: &BfdPeer) -> WantedPeer {
    WantedPeer {
        interface: configured.interface.clone(),
        hops: configured.multihop.map(|multihop| if multihop { Hops::Multi } else { Hops::Single }),
        minimum_ttl: configured.minimum_ttl.unwrap_or(ONE_ROUTER),
        ..peer(config, configured.address)
    }
}

#[cfg(test)]
mod tests {
    use calico::BgpPeer;
    use serde_json::{Value, json};

    use super::*;

    fn router(spec: &Value) -> Router {
        BgpPeer::new(spec).unwrap().router
    }

    fn config(peers: &[&str]) -> BfdConfig {
        let peer = |address: &&str| BfdPeer {
            address: address.parse().unwrap(),
            multihop: None,
            interface: None,
            minimum_ttl: Some(200),
        };
        BfdConfig { peers: peers.iter().map(peer).collect(), ..BfdConfig::default() }
    }

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(1000 + seconds))
    }

    fn update(peers: &mut Peers, config: &BfdConfig, routers: Option<&[&str]>, now: BootTime) -> Vec<String> {
        part(peers, config, (routers.unwrap_or_default(), routers.is_some()), now)
    }

    fn part(peers: &mut Peers, config: &BfdConfig, (routers, all): (&[&str], bool), now: BootTime) -> Vec<String> {
        let routers: Vec<Router> = routers.iter().map(|address| router(&json!({"peerIP": address}))).collect();
        peers.update(config, (&routers.iter().collect::<Vec<_>>(), all), &Labels::new(), now);
        peers.wanted(false).peers.iter().map(|peer| peer.address.to_string()).collect()
    }

    #[test]
    fn a_router_that_is_deleted_and_made_again_is_wanted_all_the_time() {
        let (mut peers, config) = (Peers::default(), config(&[]));
        assert_eq!(update(&mut peers, &config, Some(&["192.0.2.1"]), at(0)), ["192.0.2.1"]);
        assert_eq!(update(&mut peers, &config, Some(&[]), at(10)), ["192.0.2.1"]);
        assert_eq!(update(&mut peers, &config, Some(&["192.0.2.1"]), at(14)), ["192.0.2.1"]);
        assert_eq!(update(&mut peers, &config, Some(&[]), at(20)), ["192.0.2.1"]);
        assert_eq!(update(&mut peers, &config, Some(&[]), at(24)), ["192.0.2.1"]);
        assert!(update(&mut peers, &config, Some(&[]), at(25)).is_empty());
    }

    #[test]
    fn a_list_that_was_not_read_is_no_news() {
        let before = vec![WantedPeer::new("192.0.2.1".parse().unwrap())];
        let (mut peers, config) = (Peers::resume(before), config(&["192.0.2.9"]));
        for seconds in [0, 100, 1000] {
            assert_eq!(update(&mut peers, &config, None, at(seconds)), ["192.0.2.1", "192.0.2.9"]);
        }
        // What the configuration named is known to be gone.
        let none = BfdConfig::default();
        update(&mut peers, &none, None, at(2000));
        assert_eq!(update(&mut peers, &none, None, at(2006)), ["192.0.2.1"]);
        update(&mut peers, &none, Some(&[]), at(2010));
        assert!(update(&mut peers, &none, Some(&[]), at(2015)).is_empty());
    }

    /// The cluster has both API groups. The one that is read first has nothing, the other one does not answer.
    #[test]
    fn half_of_the_lists_end_no_session_of_an_earlier_run() {
        let before = ["192.0.2.1", "192.0.2.2"].map(|address| WantedPeer::new(address.parse().unwrap()));
        let (mut peers, config) = (Peers::resume(before.to_vec()), config(&[]));
        for seconds in [0, 100, 1000] {
            let wanted = part(&mut peers, &config, (&["192.0.2.1"], false), at(seconds));
            assert_eq!(wanted, ["192.0.2.1", "192.0.2.2"]);
        }
        // What this run has read, and reads no more, is gone.
        part(&mut peers, &config, (&[], false), at(2000));
        assert_eq!(part(&mut peers, &config, (&[], false), at(2006)), ["192.0.2.2"]);
        part(&mut peers, &config, (&[], true), at(2010));
        assert!(part(&mut peers, &config, (&[], true), at(2015)).is_empty());
    }

    #[test]
    fn calico_may_be_ignored() {
        let config = BfdConfig { calico: CalicoBfd::Disabled, ..config(&["192.0.2.9"]) };
        let mut peers = Peers::default();
        assert_eq!(update(&mut peers, &config, Some(&["192.0.2.1"]), at(0)), ["192.0.2.9"]);
    }

    #[test]
    fn the_configuration_comes_before_calico() {
        let mut peers = Peers::default();
        update(&mut peers, &config(&["192.0.2.1"]), Some(&["192.0.2.1", "192.0.2.2"]), at(0));
        let ttl: Vec<u8> = peers.wanted(false).peers.iter().map(|peer| peer.minimum_ttl).collect();
        assert_eq!(ttl, [200, 254]);
    }

    #[test]
    fn calicos_fields_decide() {
        let annotations: Labels = [("projectcalico.org/IPv4Address".to_owned(), "192.0.2.11/24".to_owned())].into();
        let made = |spec: Value, calico: CalicoBfd| {
            let config = BfdConfig { calico, ..BfdConfig::default() };
            of_calico(&config, &router(&spec), &annotations)
        };
        let plain = made(json!({"peerIP": "192.0.2.1:1790"}), CalicoBfd::Passive);
        assert_eq!(plain.local_address, Some("192.0.2.11".parse().unwrap()));
        assert_eq!((plain.role, plain.hops, plain.minimum_ttl), (Role::Passive, None, 254));
        let any = made(json!({"peerIP": "192.0.2.1", "sourceAddress": "None"}), CalicoBfd::Passive);
        assert_eq!(any.local_address, None);
        let far = made(json!({"peerIP": "198.51.100.1", "ttlSecurity": 5}), CalicoBfd::Active);
        assert_eq!((far.role, far.hops, far.minimum_ttl), (Role::Active, Some(Hops::Multi), 251));
        let near = made(json!({"peerIP": "192.0.2.1", "ttlSecurity": 255}), CalicoBfd::Passive);
        assert_eq!(near.minimum_ttl, 1);
        // Without its interface it would make the file useless.
        assert!(!usable(&made(json!({"peerIP": "fe80::1"}), CalicoBfd::Passive)));
        assert!(usable(&made(json!({"peerIP": "fe80::1%eth0", "ttlSecurity": 5}), CalicoBfd::Active)));
    }
}
