//! A node that has just booted waits with routed addresses until kube-proxy serves it, as long as another node has them:
//! routers would send it a share of the connections, which it would refuse.

use std::time::Duration;

use runtime::BootTime;

use crate::model::service_proxy::KubeProxy;

/// For how long it waits at most.
const MOST: Duration = Duration::from_secs(60);
/// An agent that starts later than this after the boot is not the first one of it.
const BOOT: Duration = Duration::from_secs(600);

/// When the agent started, if that was soon after the boot and kube-proxy has not served the node since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterBoot(Option<BootTime>);

impl AfterBoot {
    /// At the start of the agent.
    #[must_use]
    pub fn new(now: BootTime) -> Self {
        Self((now < BootTime::from_duration(BOOT)).then_some(now))
    }

    /// Takes over what is known of kube-proxy; `has_rules` says that it has some. It says that it is here before it has.
    pub fn note(&mut self, proxy: KubeProxy, has_rules: bool, now: BootTime) {
        let over = self.0.is_some_and(|start| now.since(start) >= MOST);
        let served = has_rules && matches!(proxy, KubeProxy::Here(_));
        if over || served || proxy == KubeProxy::Gone {
            self.0 = None;
        }
    }

    /// Whether the node waits.
    #[must_use]
    pub const fn waits(self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::service_proxy::ProxyMode;

    const HERE: KubeProxy = KubeProxy::Here(ProxyMode::Nftables);

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(seconds))
    }

    fn waits(start: u64, notes: &[(KubeProxy, bool, u64)]) -> bool {
        let mut boot = AfterBoot::new(at(start));
        for (proxy, has_rules, second) in notes {
            boot.note(*proxy, *has_rules, at(*second));
        }
        boot.waits()
    }

    #[test]
    fn a_node_waits_after_its_boot_until_kube_proxy_has_rules() {
        assert!(waits(40, &[(KubeProxy::Unknown, false, 50), (HERE, false, 60)]));
        assert!(!waits(40, &[(HERE, true, 60), (HERE, false, 61)]));
        assert!(waits(40, &[(KubeProxy::Unknown, true, 60)]), "those of a run before a quick reboot do not outlive it");
    }

    #[test]
    fn it_waits_for_a_minute_at_most_and_only_after_a_boot() {
        assert!(waits(40, &[(HERE, false, 99)]) && !waits(40, &[(HERE, false, 100)]));
        assert!(!waits(40, &[(KubeProxy::Gone, false, 60)]), "another service proxy");
        assert!(!waits(600, &[]));
    }
}
