//! The VIP guard: when it looks, what is to be open, and what is reported of it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::lease::ProxyState;
use api_types::names::reason;
use api_types::{ProxyFailure, VipGuard};
use runtime::BootTime;

use super::Agent;
use crate::cluster::service::ServiceView;
use crate::decide::decision::Exclusion;
use crate::decide::guard::{Guarding, IpvsInterface, Off, guarding, open_ports};
use crate::decide::kube_proxy::{Health, Signs, external_chain};
use crate::decide::rights;
use crate::guard::{Look, News};
use crate::kernel::netlink::error::KernelError;
use crate::kernel::nftables::proxy_rules::ProxiedPort;
use crate::kernel::nftables::requests::Nftables;
use crate::model::guard::GuardChange;
use crate::model::port::Opening;
use crate::model::service_proxy::{KubeProxy, ProxyMode};

/// The interface on which kube-proxy in IPVS mode has the addresses of Services.
const IPVS_INTERFACE: &str = "kube-ipvs0";

impl Agent {
    /// Takes over what happened to rules or kube-proxy's ports.
    pub(super) async fn look_at_rules(&mut self, news: News) {
        match news {
            News::Signs => self.look_at_proxy().await,
            News::Rules => {
                self.guard.note_changed_rules();
                self.look_if_due().await;
            }
        }
    }

    /// Looks at rules that have changed, or again at rules of kube-proxy that were missed.
    pub(super) async fn look_if_due(&mut self) {
        let Some(look) = self.guard.begin_look(BootTime::now()) else { return };
        if look == Look::Changed {
            self.check_table().await;
        }
        self.look_for_proxy_rules().await;
        self.note_proxy_failure();
    }

    /// Notices that somebody else changed our table.
    async fn check_table(&mut self) {
        match self.guard.filter.call(Nftables::is_intact).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(op = "vipGuard", "another program changed or removed the rules: they are written anew");
                self.guard.plan.lost();
            }
            Err(error) => tracing::debug!(op = "vipGuard", %error, "cannot look at the rules"),
        }
    }

    async fn look_at_proxy(&mut self) {
        let signs = self.guard.signs();
        let by_rules = signs.mode.is_none() && signs.health.is_kube_proxys();
        let named = if by_rules { self.mode_of_rules().await } else { None };
        let before = self.guard.presence.answer();
        self.guard.presence.look(signs, named, BootTime::now());
        let after = self.guard.presence.answer();
        if before != after {
            self.guard.rules.forget();
            self.outside.metrics.guard.set_proxy(after);
            let ports = self.settings.kube_proxy;
            match after {
                KubeProxy::Here(mode) => tracing::info!(op = "kubeProxy", mode = mode.name(), "kube-proxy is here"),
                KubeProxy::Gone | KubeProxy::Unknown => {
                    tracing::info!(
                        op = "kubeProxy",
                        metrics = ports.metrics,
                        health = ports.health,
                        "kube-proxy does not answer"
                    );
                }
            }
        }
        if before != after && after == KubeProxy::Gone {
            self.note_removal(before).await;
        }
        self.note_life(signs);
        if matches!(after, KubeProxy::Here(mode) if signs.mode.or(named) == Some(mode)) {
            self.guard.rules.confirm(BootTime::now());
        }
        self.look_for_proxy_rules().await;
        self.note_proxy_failure();
    }

    /// A kube-proxy that left no rules was taken away on purpose, most likely because another service proxy is here now.
    async fn note_removal(&mut self, before: KubeProxy) {
        let KubeProxy::Here(mode @ (ProxyMode::Nftables | ProxyMode::Iptables)) = before else { return };
        if let Ok([false, false]) = self.guard.filter.call(move |nftables| nftables.proxy_families(mode)).await {
            self.guard.life.forget();
        }
    }

    fn note_life(&mut self, signs: Signs) {
        let was_dead = self.guard.life.is_dead();
        self.guard.life.look(signs, BootTime::now());
        if self.guard.life.is_dead() && !was_dead && self.avoids_failed_proxies() {
            let text = if signs.health == Health::Fails {
                "kube-proxy has said on its health port for 30 seconds that it does not live"
            } else {
                "kube-proxy was here and has not answered on its ports for 30 seconds"
            };
            tracing::warn!(op = "kubeProxy", event = reason::KUBE_PROXY_FAILED, "{text}");
            self.reporter.node(&self.cluster, reason::KUBE_PROXY_FAILED, text);
        }
    }

    fn avoids_failed_proxies(&self) -> bool {
        self.mode.config().is_some_and(|config| config.proxy_failure == ProxyFailure::Avoid)
    }

    /// Whether routed addresses wait for kube-proxy after a boot.
    pub(super) fn waits_for_proxy(&self) -> bool {
        let unguarded = self.mode.config().is_some_and(|config| config.vip_guard == VipGuard::Disabled);
        self.guard.boot.waits() && !unguarded
    }

    /// Looks whether routed addresses still wait for kube-proxy.
    pub(super) fn note_boot(&mut self) {
        if !self.guard.boot.waits() {
            return;
        }
        let has_rules = self.guard.rules.were_seen() || self.ipvs_interface() == IpvsInterface::Used;
        self.guard.boot.note(self.guard.presence.answer(), has_rules, BootTime::now());
        if !self.guard.boot.waits() {
            tracing::info!(op = "kubeProxy", "routed addresses do not wait for kube-proxy any more");
            self.cluster.mark_all();
            self.note_proxy_failure();
        }
    }

    /// Whether this node can serve routed addresses, as its Lease says; nothing on a node that announces none.
    pub(super) fn proxy_state(&self) -> Option<ProxyState> {
        let announces = self.mode.config().is_some() && self.local.exclusion(BootTime::now()) == Exclusion::No;
        let serves = (announces && !self.waits_for_proxy()).then_some(ProxyState::Serves);
        if !self.avoids_failed_proxies() {
            serves
        } else if self.guard.life.is_dead() || self.guard.rules.are_gone() {
            Some(ProxyState::Failed)
        } else if self.guard.life.is_doubtful() {
            Some(ProxyState::Doubtful)
        } else {
            serves
        }
    }

    /// Tells the others, and decides anew, when kube-proxy fails or is back, or when the node announces nothing.
    pub(super) fn note_proxy_failure(&mut self) {
        let state = self.proxy_state();
        if self.cluster.members.set_own_proxy(state) {
            tracing::info!(op = "kubeProxy", ?state, "whether kube-proxy serves this node has changed");
            self.cluster.mark_all();
            self.interfaces_changed = true;
        }
    }

    /// Looks whether rules of the kube-proxy that is here were taken away.
    async fn look_for_proxy_rules(&mut self) {
        let KubeProxy::Here(mode) = self.guard.presence.answer() else { return };
        match self.guard.filter.call(move |nftables| nftables.proxy_families(mode)).await {
            Ok(present) => self.note_proxy_rules(present),
            Err(error) => tracing::debug!(op = "kubeProxy", %error, "cannot look at its rules"),
        }
    }

    fn note_proxy_rules(&mut self, present: [bool; 2]) {
        let before = self.guard.rules.are_gone();
        self.guard.rules.look(present, BootTime::now());
        if self.guard.rules.is_in_doubt() {
            self.guard.ask();
        }
        let after = self.guard.rules.are_gone();
        self.outside.metrics.guard.proxy_rules_gone.set(i64::from(after));
        if after && !before {
            let text = "another program removed kube-proxy's rules, and kube-proxy has not put them back: it does at the next change of a Service, or when it is restarted";
            tracing::warn!(op = "kubeProxy", event = reason::PROXY_RULES_GONE, "{text}");
            self.reporter.node(&self.cluster, reason::PROXY_RULES_GONE, text);
        } else if before && !after {
            tracing::info!(op = "kubeProxy", "kube-proxy's rules are back");
        }
    }

    /// In which mode of kube-proxy there are rules that name an address of ours.
    async fn mode_of_rules(&mut self) -> Option<ProxyMode> {
        if self.has_address_on(IPVS_INTERFACE) {
            return Some(ProxyMode::Ipvs);
        }
        let openings = self.guard.some_ports();
        let ports: Vec<ProxiedPort> = openings.into_iter().filter_map(|opening| self.proxied(opening)).collect();
        let look = move |nftables: &mut Nftables| {
            for port in ports {
                if let Some(mode) = nftables.proxy_rules(&port)? {
                    return Ok(Some(mode));
                }
            }
            Ok(None)
        };
        let found = self.guard.filter.call(look).await;
        found.unwrap_or_else(|error| {
            tracing::debug!(op = "kubeProxy", %error, "cannot look at its rules");
            None
        })
    }

    fn proxied(&self, opening: Opening) -> Option<ProxiedPort> {
        let mut users = self.cluster.services.of(opening.ip);
        users.find_map(|user| {
            let port = user.ports.iter().find(|port| port.port == opening.port)?;
            Some(ProxiedPort { opening, chain: external_chain(&user.name, port) })
        })
    }

    fn ipvs_interface(&self) -> IpvsInterface {
        if self.host.observed().index_of(IPVS_INTERFACE).is_none() {
            IpvsInterface::Absent
        } else if self.has_address_on(IPVS_INTERFACE) {
            IpvsInterface::Used
        } else {
            IpvsInterface::Unused
        }
    }

    fn has_address_on(&self, interface: &str) -> bool {
        let observed = self.host.observed();
        let Some(index) = observed.index_of(interface) else { return false };
        self.guard.plan.desired().addresses().any(|ip| observed.of(ip).any(|(key, _)| key.index == index))
    }

    /// Decides whether this node guards, and which ports of these addresses are open; opens what is to be open.
    pub(super) async fn open_guard(&mut self, addresses: &BTreeSet<IpAddr>) {
        let now = BootTime::now();
        let setting = self.mode.config().map(|config| config.vip_guard);
        let guarding = guarding(setting, self.guard.presence.answer(), self.ipvs_interface());
        self.guard.plan.set_guarding(guarding);
        for ip in addresses {
            let context = self.context(now);
            let users: Vec<&ServiceView> = self.cluster.services.of(*ip).collect();
            let is_anchor = self.remote.anchors().contains_key(ip);
            let ports = open_ports(&context, *ip, &rights::serving(&context, *ip, &users), is_anchor);
            self.guard.plan.set(*ip, ports);
        }
        self.report_guard(setting, guarding);
        let change = self.guard.plan.before(now);
        self.change_guard(change).await;
    }

    /// Closes what is not to be open any more, and renews the rest.
    pub(super) async fn close_guard(&mut self) {
        let change = self.guard.plan.after(BootTime::now());
        self.change_guard(change).await;
    }

    /// Guards nothing any more: without an agent, a new port of a Service must not be closed.
    pub(super) async fn end_guard(&mut self) {
        if self.guard.plan.may_have_rules() {
            self.change_guard(Some(GuardChange::Remove)).await;
        }
    }

    /// Carries a change out. If the kernel does not have what an edit relies on, everything is built anew.
    async fn change_guard(&mut self, change: Option<GuardChange>) {
        let Some(change) = change else { return };
        let is_edit = matches!(change, GuardChange::Edit(_));
        if let Err(error) = self.try_change(change).await {
            tracing::debug!(op = "vipGuard", %error, "the kernel refused a change");
            let rebuilt = match self.rebuild() {
                Some(change) if is_edit => self.try_change(change).await,
                _ => Err(error),
            };
            if let Err(error) = rebuilt {
                self.guard.plan.failed(BootTime::now());
                self.report_refusal(&error);
            }
        }
        self.outside.metrics.guard.addresses.set(i64::try_from(self.guard.plan.guarded()).unwrap_or(i64::MAX));
    }

    fn rebuild(&mut self) -> Option<GuardChange> {
        self.guard.plan.lost();
        self.guard.plan.before(BootTime::now())
    }

    async fn try_change(&mut self, change: GuardChange) -> Result<(), KernelError> {
        let carried_out = change.clone();
        self.guard.filter.call(move |nftables| nftables.apply(&carried_out)).await?;
        self.guard.plan.done(change, BootTime::now());
        self.guard.refused = false;
        Ok(())
    }

    /// Reports once that the kernel takes no rules. Where there are to be none, that is no news.
    fn report_refusal(&mut self, error: &KernelError) {
        if !self.guard.plan.is_on() || std::mem::replace(&mut self.guard.refused, true) {
            return;
        }
        let text = format!(
            "the addresses of Services let in more than the ports of these Services, because the kernel takes no rules of nftables: {error}"
        );
        tracing::warn!(op = "vipGuard", event = reason::VIP_GUARD_OFF, "{text}");
        self.reporter.node(&self.cluster, reason::VIP_GUARD_OFF, &text);
    }

    /// Reports once that this node does not guard although its configuration lets it.
    fn report_guard(&mut self, setting: Option<VipGuard>, guarding: Guarding) {
        let off = match guarding {
            Guarding::Off(off) => Some(off),
            Guarding::On(_) => None,
            Guarding::Undecided => return,
        };
        if std::mem::replace(&mut self.guard.reported, off) == off || off != Some(Off::OtherProxy) {
            return;
        }
        let ports = self.settings.kube_proxy;
        let text = format!(
            "the addresses of Services let in more than the ports of these Services, because no kube-proxy answers on the ports {} and {}: if one runs here, PURELB_KUBE_PROXY_METRICS_PORT and PURELB_KUBE_PROXY_HEALTH_PORT name its ports; vipGuard: Enabled guards without one",
            ports.metrics, ports.health
        );
        tracing::warn!(op = "vipGuard", event = reason::VIP_GUARD_OFF, ?setting, "{text}");
        self.reporter.node(&self.cluster, reason::VIP_GUARD_OFF, &text);
    }
}
