//! Is kube-proxy on this node? Only what a living one does counts: it says its mode on its metrics port, or it answers on
//! its health port and there are rules that name an address of ours. Rules alone outlive it, the kubelet makes some of its
//! chains, and other programs answer on its health port.

use std::time::Duration;

use runtime::BootTime;
use sha2::{Digest, Sha256};

use crate::cluster::ports::ServicePort;
use crate::cluster::service::ServiceName;
use crate::model::service_proxy::{KubeProxy, ProxyMode};

/// For how long without a sign kube-proxy still counts as here.
const GONE: Duration = Duration::from_secs(60);
/// Looks without a sign that this takes at least: after a pause of the whole node, the first look says little.
const LOOKS: u32 = 3;

/// What one look at its ports found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signs {
    /// Its metrics port says this mode.
    pub mode: Option<ProxyMode>,
    /// What its health port says.
    pub health: Health,
}

/// What the page of kube-proxy's health port says on which it tells whether it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Nothing answers.
    #[default]
    Silent,
    /// It lives.
    Lives,
    /// It does not live.
    Fails,
    /// There is no such page: a kube-proxy before 1.28, or another program.
    NoPage,
}

impl Health {
    /// By the status of the page.
    #[must_use]
    pub const fn of_status(status: Option<u16>) -> Self {
        match status {
            None => Self::Silent,
            Some(200) => Self::Lives,
            Some(404) => Self::NoPage,
            Some(_) => Self::Fails,
        }
    }

    /// Whether it is kube-proxy's: other programs answer there as well, without this page.
    #[must_use]
    pub const fn is_kube_proxys(self) -> bool {
        matches!(self, Self::Lives | Self::Fails)
    }
}

/// The answer, kept over looks.
#[derive(Debug, Clone)]
pub struct Presence {
    answer: KubeProxy,
    /// The last sign, or the begin of looking.
    last: BootTime,
    /// Looks without a sign since then.
    missed: u32,
}

impl Presence {
    /// Before the first look.
    #[must_use]
    pub const fn new(now: BootTime) -> Self {
        Self { answer: KubeProxy::Unknown, last: now, missed: 0 }
    }

    /// The answer.
    #[must_use]
    pub const fn answer(&self) -> KubeProxy {
        self.answer
    }

    /// Takes over a look, and for which mode there are rules that name an address of ours.
    pub fn look(&mut self, signs: Signs, rules: Option<ProxyMode>, now: BootTime) {
        if let Some(mode) = signs.mode.or(rules.filter(|_| signs.health.is_kube_proxys())) {
            *self = Self { answer: KubeProxy::Here(mode), last: now, missed: 0 };
        } else {
            self.missed = self.missed.saturating_add(1);
            if now.since(self.last) >= GONE && self.missed >= LOOKS {
                self.answer = KubeProxy::Gone;
            }
        }
    }
}

/// The chain in which kube-proxy in iptables mode has the rules for packets from outside to a port (Kubernetes,
/// `pkg/proxy/iptables`): the first 80 bits of a SHA-256 in the letters of RFC 4648.
#[must_use]
pub fn external_chain(service: &ServiceName, port: &ServicePort) -> String {
    let colon = if port.name.is_empty() { "" } else { ":" };
    let hash = Sha256::digest(format!("{service}{colon}{}{}", port.name, port.port.protocol.name()));
    let bits = hash.iter().take(10).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    let letter = |nth: u32| {
        let value = u8::try_from(bits >> (5 * nth) & 31).unwrap_or_default();
        char::from(if value < 26 { b'A' + value } else { b'2' + value - 26 })
    };
    "KUBE-EXT-".chars().chain((0..16).rev().map(letter)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::port::{Port, Protocol};

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    const NOTHING: Signs = Signs { mode: None, health: Health::Silent };
    const HEALTH: Signs = Signs { mode: None, health: Health::Lives };

    #[test]
    fn only_what_a_living_one_does_counts() {
        let look = |signs, rules| {
            let mut presence = Presence::new(at(100));
            presence.look(signs, rules, at(101));
            presence.answer()
        };
        let mode = Signs { mode: Some(ProxyMode::Ipvs), ..NOTHING };
        assert_eq!(look(mode, None), KubeProxy::Here(ProxyMode::Ipvs));
        assert_eq!(look(HEALTH, Some(ProxyMode::Iptables)), KubeProxy::Here(ProxyMode::Iptables));
        assert_eq!(look(HEALTH, None), KubeProxy::Unknown);
        assert_eq!(look(NOTHING, Some(ProxyMode::Nftables)), KubeProxy::Unknown);
        // Rules that a kube-proxy left, and the health port of a program that replaced it.
        let other = Signs { health: Health::of_status(Some(404)), ..NOTHING };
        assert_eq!(look(other, Some(ProxyMode::Nftables)), KubeProxy::Unknown);
        let failing = Signs { health: Health::of_status(Some(503)), ..NOTHING };
        assert_eq!(look(failing, Some(ProxyMode::Nftables)), KubeProxy::Here(ProxyMode::Nftables));
    }

    #[test]
    fn without_a_sign_for_a_minute_it_is_gone() {
        let mut presence = Presence::new(at(100));
        for second in [110, 120, 159] {
            presence.look(NOTHING, None, at(second));
            assert_eq!(presence.answer(), KubeProxy::Unknown);
        }
        presence.look(NOTHING, None, at(160));
        assert_eq!(presence.answer(), KubeProxy::Gone);
        presence.look(HEALTH, Some(ProxyMode::Nftables), at(161));
        for second in [171, 181, 220] {
            presence.look(NOTHING, None, at(second));
            assert_eq!(presence.answer(), KubeProxy::Here(ProxyMode::Nftables), "{second}");
        }
        presence.look(NOTHING, None, at(221));
        assert_eq!(presence.answer(), KubeProxy::Gone);
    }

    #[test]
    fn a_pause_of_the_node_is_no_absence() {
        let mut presence = Presence::new(at(0));
        presence.look(HEALTH, Some(ProxyMode::Nftables), at(1));
        presence.look(NOTHING, None, at(1000));
        assert_eq!(presence.answer(), KubeProxy::Here(ProxyMode::Nftables));
    }

    #[test]
    fn chains_have_the_names_that_kube_proxy_gives_them() {
        let chain = |name: &str| {
            let port = Port { protocol: Protocol::Tcp, number: 80 };
            external_chain(&ServiceName::new("ns1", "svc1"), &ServicePort { port, name: name.into() })
        };
        assert_eq!(chain("p80"), "KUBE-EXT-XPGD46QRK7WJZT7O");
        assert_ne!(chain(""), chain("p80"));
    }
}
