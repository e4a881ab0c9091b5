//! The VIP guard: whether this node has it, and what it lets in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api_types::VipGuard;

use crate::cluster::service::ServiceView;
use crate::decide::context::Context;
use crate::decide::reserved::taken_on;
use crate::model::guard::Rules;
use crate::model::port::Port;
use crate::model::service_proxy::{KubeProxy, ProxyMode};

/// Whether this node guards its addresses of Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarding {
    /// With these rules.
    On(Rules),
    /// Not.
    Off(Off),
    /// It is not known yet: whatever there is stays.
    Undecided,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// The configuration says so, or there is none.
    Disabled,
    /// Another service proxy than kube-proxy serves this node. It may deliver packets whose destination was not translated.
    OtherProxy,
}

/// The interface `kube-ipvs0`, on which kube-proxy in IPVS mode has the addresses of Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpvsInterface {
    /// There is none.
    Absent,
    /// It has no address that is to be guarded: it was left over, or is new.
    Unused,
    /// It has some.
    Used,
}

/// Decides. `setting` is absent on a node without a configuration.
///
/// A kube-proxy that begins in IPVS mode serves before it is asked for its mode.
#[must_use]
pub fn guarding(setting: Option<VipGuard>, proxy: KubeProxy, interface: IpvsInterface) -> Guarding {
    let ipvs = match proxy {
        KubeProxy::Here(mode) => mode == ProxyMode::Ipvs || interface == IpvsInterface::Used,
        KubeProxy::Unknown | KubeProxy::Gone => interface != IpvsInterface::Absent,
    };
    let on = Guarding::On(if ipvs { Rules::Ports } else { Rules::PortsAndTranslated });
    match (setting, proxy) {
        (None | Some(VipGuard::Disabled), _) => Guarding::Off(Off::Disabled),
        (Some(VipGuard::Enabled), _) | (Some(VipGuard::Auto), KubeProxy::Here(_)) => on,
        (Some(VipGuard::Auto), KubeProxy::Gone) => Guarding::Off(Off::OtherProxy),
        (Some(VipGuard::Auto), KubeProxy::Unknown) => Guarding::Undecided,
    }
}

/// The ports that are open on an address; nothing if it is not guarded. `serving` are the Services that have a right to the
/// address here: others only say that they have it. `is_anchor` says that it is the anchor of an aggregate.
#[must_use]
pub fn open_ports(
    context: &Context<'_>,
    address: IpAddr,
    serving: &[&ServiceView],
    is_anchor: bool,
) -> Option<BTreeSet<Port>> {
    let is_here = is_anchor || context.is_from_us(address);
    // Somebody may have given the node's own address to a Service, and sshd must answer there.
    let is_own = taken_on(context, address).is_some() || !is_here && context.node_addresses.contains(&address);
    if is_own { None } else { ports_of(address, serving, is_here) }
}

/// Without a Service, an address that is here is closed until it is gone.
fn ports_of(address: IpAddr, users: &[&ServiceView], is_here: bool) -> Option<BTreeSet<Port>> {
    let unguarded = users.iter().any(|user| user.guard_disabled || user.other_proxy);
    let guarded = !unguarded && (is_here || !users.is_empty());
    let ports_on = |user: &&'_ ServiceView| -> Vec<Port> {
        let added = user.vip_ports.iter().filter(|opening| opening.ip == address).map(|opening| opening.port);
        user.ports.iter().map(|port| port.port).chain(added).collect()
    };
    guarded.then(|| users.iter().flat_map(ports_on).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::IpvsInterface::{Absent, Unused, Used};
    use super::*;

    fn service(metadata: &Value, ports: &Value) -> ServiceView {
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "shop", "uid": "a", "annotations": {"purelb.io/allocated-by": "PureLB"}},
            "spec": {"type": "LoadBalancer", "ports": ports},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
        });
        for (key, value) in metadata.as_object().unwrap() {
            object["metadata"][key] = value.clone();
        }
        ServiceView::new(&serde_json::from_value(object).unwrap(), true)
    }

    fn texts(services: &[ServiceView], is_here: bool) -> Option<Vec<String>> {
        let users: Vec<&ServiceView> = services.iter().collect();
        ports_of("192.0.2.1".parse().unwrap(), &users, is_here)
            .map(|ports| ports.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_guard_follows_kube_proxy() {
        let here = |mode| KubeProxy::Here(mode);
        let all = Guarding::On(Rules::PortsAndTranslated);
        let ports = Guarding::On(Rules::Ports);
        for (setting, proxy, interface, expected) in [
            (Some(VipGuard::Auto), here(ProxyMode::Nftables), Absent, all),
            (Some(VipGuard::Auto), here(ProxyMode::Iptables), Unused, all),
            (Some(VipGuard::Auto), here(ProxyMode::Iptables), Used, ports),
            (Some(VipGuard::Auto), here(ProxyMode::Ipvs), Used, ports),
            (Some(VipGuard::Auto), KubeProxy::Unknown, Absent, Guarding::Undecided),
            (Some(VipGuard::Auto), KubeProxy::Gone, Absent, Guarding::Off(Off::OtherProxy)),
            (Some(VipGuard::Enabled), KubeProxy::Gone, Absent, all),
            (Some(VipGuard::Enabled), KubeProxy::Unknown, Unused, ports),
            (Some(VipGuard::Disabled), here(ProxyMode::Nftables), Absent, Guarding::Off(Off::Disabled)),
            (None, here(ProxyMode::Nftables), Absent, Guarding::Off(Off::Disabled)),
        ] {
            assert_eq!(guarding(setting, proxy, interface), expected, "{setting:?} {proxy:?}");
        }
    }

    #[test]
    fn the_ports_of_all_sharers_are_open() {
        let web = service(&json!({}), &json!([{"port": 80}, {"port": 443, "protocol": "UDP", "name": "quic"}]));
        let dns = service(&json!({"name": "b"}), &json!([{"port": 53, "protocol": "SCTP"}]));
        assert_eq!(texts(&[web, dns], false).unwrap(), ["tcp/80", "udp/443", "sctp/53"]);
    }

    #[test]
    fn case_55_ports_that_others_add_to_an_address_are_open_on_it() {
        let metadata = json!({"annotations": {
            "purelb.io/allocated-by": "PureLB",
            "purelb.io/vip-ports": "192.0.2.1,tcp,8443 192.0.2.2,tcp,22 192.0.2.1,icmp,1 192.0.2.1,sctp,0"
        }});
        assert_eq!(texts(&[service(&metadata, &json!([{"port": 80}]))], false).unwrap(), ["tcp/80", "tcp/8443"]);
    }

    #[test]
    fn an_address_without_services_is_closed_while_it_is_here() {
        assert_eq!((texts(&[], true), texts(&[], false)), (Some(Vec::new()), None));
    }

    #[test]
    fn one_sharer_takes_the_guard_off_the_address() {
        let web = || service(&json!({}), &json!([{"port": 80}]));
        for metadata in [
            json!({"annotations": {"purelb.io/allocated-by": "PureLB", "purelb.io/vip-guard": "Disabled"}}),
            json!({"labels": {"service.kubernetes.io/service-proxy-name": ""}}),
        ] {
            assert_eq!(texts(&[web(), service(&metadata, &json!([{"port": 81}]))], true), None, "{metadata}");
        }
        let other = json!({"annotations": {"purelb.io/allocated-by": "PureLB", "purelb.io/vip-guard": "Enabled"}});
        assert!(texts(&[web(), service(&other, &json!([{"port": 81}]))], true).is_some());
    }
}
