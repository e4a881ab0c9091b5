//! Whether there are rules of kube-proxy, and whether they name a port of an address: one chain, or one element of a map.
//! Rules of legacy iptables are not seen.

use api_types::Family;
use nix::libc::{NFPROTO_IPV4, NFPROTO_IPV6, NFT_MSG_GETCHAIN, NFT_MSG_GETSETELEM};

use super::elements::{named, opening};
use super::message::Message;
use super::requests::Nftables;
use crate::kernel::netlink::error::KernelError;
use crate::model::port::Opening;
use crate::model::service_proxy::ProxyMode;

/// The table of kube-proxy's nftables mode, and its maps of ports: those with endpoints, and those without.
const TABLE: &str = "kube-proxy";
const MAPS: [&str; 2] = ["service-ips", "no-endpoint-services"];
/// The table in which its iptables mode translates.
const NAT: &str = "nat";
/// The chains that lead to all Services in each mode.
const SERVICES: &str = "services";
const KUBE_SERVICES: &str = "KUBE-SERVICES";
/// `NFTA_CHAIN_TABLE`, `NFTA_CHAIN_NAME`, `NFTA_CHAIN_USE`.
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_USE: u16 = 6;

/// A port of an address of a Service, as kube-proxy's rules name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxiedPort {
    /// The port.
    pub opening: Opening,
    /// The chain for packets from outside in the iptables mode.
    pub chain: String,
}

impl Nftables {
    /// In which mode of kube-proxy there are rules for the port; nothing if there are none.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn proxy_rules(&mut self, port: &ProxiedPort) -> Result<Option<ProxyMode>, KernelError> {
        let (family, key) = opening(port.opening);
        let protocol = if family == Family::V4 { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
        for map in MAPS {
            let request = named(Message::new(NFT_MSG_GETSETELEM, 0, protocol), TABLE, map, std::slice::from_ref(&key));
            if self.ask(request, |_| ())?.is_some() {
                return Ok(Some(ProxyMode::Nftables));
            }
        }
        let found = self.is_in_use(protocol, NAT, &port.chain)?;
        Ok(found.then_some(ProxyMode::Iptables))
    }

    /// Of which families there are rules of kube-proxy in this mode.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn proxy_families(&mut self, mode: ProxyMode) -> Result<[bool; 2], KernelError> {
        let (table, chain) = match mode {
            ProxyMode::Nftables => (TABLE, SERVICES),
            ProxyMode::Iptables => (NAT, KUBE_SERVICES),
            ProxyMode::Ipvs => return Ok([false; 2]),
        };
        Ok([self.is_in_use(NFPROTO_IPV4, table, chain)?, self.is_in_use(NFPROTO_IPV6, table, chain)?])
    }

    /// Whether there is a chain with rules, or with rules that lead to it: what was flushed keeps its chains.
    fn is_in_use(&mut self, protocol: i32, table: &str, chain: &str) -> Result<bool, KernelError> {
        let request = Message::new(NFT_MSG_GETCHAIN, 0, protocol).text(CHAIN_TABLE, table).text(CHAIN_NAME, chain);
        let uses = self.ask(request, |chain| chain.number(CHAIN_USE))?.flatten();
        Ok(uses.is_some_and(|uses| uses > 0))
    }
}
