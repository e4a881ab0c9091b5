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
/// For how long it may be silent on its health port, or say that it does not live.
const DEAD: Duration = Duration::from_secs(30);
/// The time between the two looks after which rules count as gone.
pub const SECOND_LOOK: Duration = Duration::from_secs(2);

/// What one look at its ports found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signs {
    /// Its metrics port says this mode.
    pub mode: Option<ProxyMode>,
    /// Something answers on its health port.
    pub health: bool,
    /// It says there that it lives.
    pub live: bool,
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
        if let Some(mode) = signs.mode.or(rules.filter(|_| signs.health)) {
            *self = Self { answer: KubeProxy::Here(mode), last: now, missed: 0 };
        } else {
            self.missed = self.missed.saturating_add(1);
            if now.since(self.last) >= GONE && self.missed >= LOOKS {
                self.answer = KubeProxy::Gone;
            }
        }
    }
}

/// Whether the rules of a kube-proxy that is here were taken away under it. It looks at them again at the next change of a
/// Service, or in an hour. Rules that were never seen say nothing: those of legacy iptables cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RulesSeen {
    /// The families whose rules were seen.
    seen: [bool; 2],
    missing_since: Option<BootTime>,
    gone: bool,
}

impl RulesSeen {
    /// Whether a second look is due soon.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.missing_since.is_some() && !self.gone
    }

    /// Whether they are gone.
    #[must_use]
    pub const fn are_gone(&self) -> bool {
        self.gone
    }

    /// Takes over a look: of which families there are rules.
    pub fn look(&mut self, present: [bool; 2], now: BootTime) {
        let missed = self.seen.iter().zip(present).any(|(seen, present)| *seen && !present);
        if missed {
            let since = *self.missing_since.get_or_insert(now);
            self.gone |= now.since(since) >= SECOND_LOOK;
        } else {
            (self.missing_since, self.gone) = (None, false);
        }
        for (seen, present) in self.seen.iter_mut().zip(present) {
            *seen |= present;
        }
    }

    /// Forgets everything: there is no kube-proxy, or another one.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Whether a kube-proxy that lived has died: it does not say any more that it lives. One that never did says nothing;
/// releases before 1.28 cannot. That it is healthy is more than that it lives, and does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Life {
    lived: bool,
    silent_since: Option<BootTime>,
    dead: bool,
}

impl Life {
    /// Whether it has died.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        self.dead
    }

    /// Takes over a look.
    pub fn look(&mut self, signs: Signs, now: BootTime) {
        if signs.live {
            *self = Self { lived: true, silent_since: None, dead: false };
        } else if self.lived {
            let since = *self.silent_since.get_or_insert(now);
            self.dead |= now.since(since) >= DEAD;
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

    const NOTHING: Signs = Signs { mode: None, health: false, live: false };
    const HEALTH: Signs = Signs { mode: None, health: true, live: false };

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
    fn one_that_lived_and_is_silent_for_half_a_minute_is_dead() {
        let answer = Signs { live: true, ..HEALTH };
        let mut life = Life::default();
        for second in [0, 100] {
            life.look(HEALTH, at(second));
            assert!(!life.is_dead(), "it never said that it lives");
        }
        life.look(answer, at(200));
        for second in [210, 239] {
            life.look(NOTHING, at(second));
            assert!(!life.is_dead());
        }
        life.look(HEALTH, at(240));
        assert!(life.is_dead(), "and what it says of its health does not count");
        life.look(answer, at(241));
        life.look(NOTHING, at(300));
        assert!(!life.is_dead(), "the time counts from the first look that it misses");
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

    #[test]
    fn case_61_rules_that_were_seen_and_are_missed_twice_are_gone() {
        let mut rules = RulesSeen::default();
        rules.look([false, false], at(1));
        rules.look([false, false], at(10));
        assert!(!rules.are_gone() && !rules.is_in_doubt());
        rules.look([true, false], at(20));
        rules.look([true, false], at(30));
        assert!(!rules.are_gone() && !rules.is_in_doubt());
        rules.look([false, true], at(40));
        assert!(rules.is_in_doubt() && !rules.are_gone());
        rules.look([false, true], at(41));
        assert!(!rules.are_gone());
        rules.look([false, true], at(42));
        assert!(rules.are_gone() && !rules.is_in_doubt());
        rules.look([true, true], at(50));
        assert!(!rules.are_gone());
        rules.look([true, false], at(60));
        assert!(rules.is_in_doubt());
        rules.forget();
        rules.look([false, false], at(70));
        assert!(!rules.is_in_doubt());
    }
}
