//! Addresses and routes as `ip -j` prints them.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::base::error::{Result, unexpected};

/// An address lifetime without end, as the kernel writes it.
const FOREVER: u64 = 4_294_967_295;

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub struct InterfaceAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_length: u8,
    /// `global`, `link`, `host`.
    pub scope: String,
    /// How long the kernel will keep it; `None` is for ever.
    pub valid_for: Option<Duration>,
    /// How long it may be used as a source; `None` is for ever.
    pub preferred_for: Option<Duration>,
    /// `secondary`, `deprecated`, `tentative`, `dadfailed`, `nodad`, `noprefixroute`, ...
    pub flags: BTreeSet<String>,
}

impl InterfaceAddress {
    /// Reads the output of `ip -j addr show`.
    pub(crate) fn parse(text: &str, interface: &str) -> Result<Vec<Self>> {
        #[derive(Deserialize)]
        struct Interface {
            #[serde(default)]
            ifname: String,
            #[serde(default)]
            addr_info: Vec<InterfaceAddress>,
        }
        let interfaces: Vec<Interface> =
            serde_json::from_str(text).map_err(|error| unexpected("the output of `ip -j addr`", error))?;
        Ok(interfaces.into_iter().filter(|each| each.ifname == interface).flat_map(|each| each.addr_info).collect())
    }
}

/// The fields of one address as `ip` prints them; flags are fields of their own with the value `true`.
#[derive(Deserialize)]
struct Raw {
    local: IpAddr,
    prefixlen: u8,
    #[serde(default)]
    scope: String,
    #[serde(default = "forever")]
    valid_life_time: u64,
    #[serde(default = "forever")]
    preferred_life_time: u64,
    #[serde(flatten)]
    others: serde_json::Map<String, serde_json::Value>,
}

fn forever() -> u64 {
    FOREVER
}

impl From<Raw> for InterfaceAddress {
    fn from(raw: Raw) -> Self {
        let lifetime = |seconds: u64| (seconds != FOREVER).then(|| Duration::from_secs(seconds));
        Self {
            address: raw.local,
            prefix_length: raw.prefixlen,
            scope: raw.scope,
            valid_for: lifetime(raw.valid_life_time),
            preferred_for: lifetime(raw.preferred_life_time),
            flags: raw.others.into_iter().filter(|(_, value)| *value == true).map(|(name, _)| name).collect(),
        }
    }
}

/// One route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct KernelRoute {
    /// The destination; `None` is the default route.
    #[serde(rename = "dst", deserialize_with = "destination")]
    pub destination: Option<IpNetwork>,
    /// The next hop, when there is one only.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// The interface, when there is one only.
    #[serde(default, rename = "dev")]
    pub interface: Option<String>,
    /// The next hops, when there are several.
    #[serde(default)]
    pub nexthops: Vec<NextHop>,
    /// Who made it: `kernel`, `bgp`, `bird`, `static`, ...
    #[serde(default)]
    pub protocol: String,
}

/// One of several next hops.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct NextHop {
    /// Its address.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// The interface it is behind.
    #[serde(default, rename = "dev")]
    pub interface: Option<String>,
}

impl KernelRoute {
    /// Reads the output of `ip -j route show`.
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>> {
        serde_json::from_str(text).map_err(|error| unexpected("the output of `ip -j route`", error))
    }

    /// All next hops, whether one or several.
    #[must_use]
    pub fn gateways(&self) -> BTreeSet<IpAddr> {
        self.gateway.into_iter().chain(self.nexthops.iter().filter_map(|hop| hop.gateway)).collect()
    }
}

fn destination<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<IpNetwork>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "default" { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_with_lifetimes_and_flags() {
        let text = r#"[{}, {"ifindex":2,"ifname":"eth0","addr_info":[
            {"family":"inet","local":"192.168.50.200","prefixlen":24,"scope":"global","secondary":true,"label":"eth0",
             "valid_life_time":290,"preferred_life_time":0},
            {"family":"inet6","local":"fd00:50::11","prefixlen":64,"scope":"global","nodad":true,"dynamic":false,
             "valid_life_time":4294967295,"preferred_life_time":4294967295}]}]"#;
        let addresses = InterfaceAddress::parse(text, "eth0").unwrap();
        let [first, second] = addresses.as_slice() else { panic!("{addresses:?}") };
        assert_eq!(first.address.to_string(), "192.168.50.200");
        assert_eq!((first.valid_for, first.preferred_for), (Some(Duration::from_secs(290)), Some(Duration::ZERO)));
        assert!(first.flags.contains("secondary"));
        assert_eq!((second.prefix_length, second.valid_for), (64, None));
        assert_eq!(second.flags.iter().collect::<Vec<_>>(), ["nodad"]);
        assert!(InterfaceAddress::parse(text, "kube-lb0").unwrap().is_empty());
    }

    #[test]
    fn reads_routes_with_one_and_several_next_hops() {
        let text = r#"[{"dst":"default","gateway":"192.168.50.1","dev":"eth0","flags":[]},
            {"dst":"172.30.200.155","protocol":"bgp","metric":20,"flags":[],"nexthops":[
              {"gateway":"192.168.50.11","dev":"eth0","weight":1,"flags":[]},
              {"gateway":"192.168.50.12","dev":"eth0","weight":1,"flags":[]}]}]"#;
        let routes = KernelRoute::parse(text).unwrap();
        assert_eq!(routes[0].destination, None);
        assert_eq!(routes[1].destination, Some("172.30.200.155/32".parse().unwrap()));
        assert_eq!(routes[1].gateways().len(), 2);
    }
}
