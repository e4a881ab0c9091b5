//! What is reported of addresses beside their state: for whom they are here, what the Lease says of them, and what traffic
//! policies make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::names::reason;
use ownership::{NodeId, order};
use runtime::events::Kind as Severity;

use super::Agent;
use crate::cluster::service::{ServiceName, ServiceView};
use crate::decide::reason::Reason;
use crate::decide::traffic_policy::{announcers, dark, dark_ports, nameless};
use crate::model::placement::Placement;
use crate::model::uids::Uids;
use crate::report::lease::entries::Entries;
use crate::report::traffic_policy::{PolicyReport, dark_text, nameless_text, ports_text};

impl Agent {
    /// Notes where an address is, or that it is not here any more.
    pub(super) fn note_placed(&mut self, ip: IpAddr, placed: Option<Placement>) {
        match (placed, self.served.get(&ip)) {
            (Some(placed), Some(uids)) => {
                self.holders.set(ip, uids.clone());
                if ip.is_ipv6() {
                    self.problems.end_no_ipv6(placed.key.index);
                }
            }
            (None, _) if !self.has_from_us(ip) => self.holders.set(ip, Uids::default()),
            _ => {}
        }
        self.note_entries(ip);
    }

    /// Notes what the Lease is to say of an address.
    pub(super) fn note_entries(&mut self, ip: IpAddr) {
        let status = self.status.get(&ip);
        let refused = status.and_then(|status| match (&status.decision.reason, &status.failure) {
            (Reason::Refused(text), _) => Some(text.clone()),
            (_, Some(failure)) if !failure.deleting => {
                let interface = self.host.observed().name_of(failure.key.index);
                Some(if failure.needs_ipv6() {
                    format!("interface {interface} takes no IPv6 addresses: its setting disable_ipv6 is 1")
                } else {
                    format!("the kernel does not take it on interface {interface}: {}", failure.errno)
                })
            }
            _ => None,
        });
        let held = status.is_some_and(|status| status.placed.is_some());
        let uids = self.unmarked.get(&ip).filter(|_| held).cloned().unwrap_or_default();
        self.entries.set(ip, refused, uids);
    }

    /// Hands what changed to whoever writes the Lease.
    pub(super) fn publish_entries(&mut self) {
        if self.entries.take_changed() {
            let entries: &Entries = &self.entries;
            self.outside.entries.send_replace(entries.clone());
        }
    }

    /// Reports that an interface takes no IPv6 addresses: once for all of them.
    pub(super) fn report_ipv6_disabled(&mut self, index: u32) {
        if !self.problems.begin_no_ipv6(index) {
            return;
        }
        let interface = self.host.observed().name_of(index);
        let text = format!(
            "interface {interface} takes no IPv6 addresses, so none is announced on it: set net.ipv6.conf.{interface}.disable_ipv6 to 0"
        );
        tracing::warn!(op = "announce", event = reason::INTERFACE_UNUSABLE, interface, "{text}");
        self.reporter.node(&self.cluster, reason::INTERFACE_UNUSABLE, &text);
    }

    /// Reports once which Services with the policy `Local` get nothing because no node has an endpoint of each Service
    /// that shares the address, which have ports that get nothing, and which have endpoints that name no node.
    pub(super) fn report_traffic_policy(&mut self, ip: IpAddr) {
        let users = self.serving(ip);
        if !users.iter().any(|user| user.traffic_local) {
            self.policy_reports.remove(&ip);
            return;
        }
        let names = |services: &[&ServiceView]| services.iter().map(|service| service.name.clone()).collect();
        let mut report = PolicyReport::default();
        let mut consequence = None;
        if users.len() > 1
            && let Some(dark) = self.dark_everywhere(ip, &users)
        {
            consequence = self.consequence(ip, &users);
            report.dark = if consequence.is_some() { names(&dark) } else { BTreeSet::new() };
        }
        if self.is_responsible(ip) {
            report.nameless = names(&nameless(&self.cluster.endpoints, ip, &users));
        }
        report.ports = self.dark_ports(ip, &users);
        let nobody = BTreeSet::new();
        report.here = self.local.held.contains_key(&ip) || self.remote.desired().contains_key(&ip);
        let before = self.policy_reports.get(&ip);
        let new = before.is_none_or(|before| (&before.dark, before.here) != (&report.dark, report.here));
        let nameless_before: BTreeSet<ServiceName> = before.map(|before| before.nameless.clone()).unwrap_or_default();
        let ports_before = before.map(|before| before.ports.clone()).unwrap_or_default();
        for user in users {
            if let Some(text) = report.ports.get(&user.name).filter(|text| ports_before.get(&user.name) != Some(*text))
            {
                self.reporter.service(user, Severity::Warning, reason::PORT_UNSERVED, text.clone());
            }
            if let Some(consequence) = consequence.as_deref().filter(|_| new) {
                let text = dark_text(ip, consequence, &user.name, if report.here { &report.dark } else { &nobody });
                self.reporter.service(user, Severity::Warning, reason::NO_ELIGIBLE_NODES, text);
            }
            if report.nameless.contains(&user.name) && !nameless_before.contains(&user.name) {
                let text = nameless_text(ip);
                self.reporter.service(user, Severity::Warning, reason::CONFIGURATION_WARNING, text);
            }
        }
        self.policy_reports.insert(ip, report);
    }

    /// What is to be reported of ports that get nothing on nodes that announce the address: by its owner, or of all nodes
    /// with a remote address by the first by name.
    fn dark_ports(&self, ip: IpAddr, users: &[&ServiceView]) -> BTreeMap<ServiceName, String> {
        let (endpoints, node) = (&self.cluster.endpoints, self.settings.node.as_str());
        let announcers = if self.local.held.contains_key(&ip) {
            BTreeSet::from([node])
        } else if self.remote.desired().contains_key(&ip) {
            let mut all = announcers(endpoints, ip, users, &self.cluster.members);
            all.retain(|name| *name == node || self.local.live().any(|member| member.node.as_str() == *name));
            if all.first() == Some(&node) { all } else { BTreeSet::new() }
        } else {
            BTreeSet::new()
        };
        let texts = users.iter().filter_map(|user| {
            let ports = dark_ports(endpoints, ip, user, &announcers);
            (!ports.is_empty()).then(|| (user.name.clone(), ports_text(ip, &ports)))
        });
        texts.collect()
    }

    /// The Services on whose behalf this node takes part in the address.
    fn serving(&self, ip: IpAddr) -> Vec<&ServiceView> {
        let uids = self.served.get(&ip);
        self.cluster.services.of(ip).filter(|user| uids.is_some_and(|uids| uids.contains(&user.uid))).collect()
    }

    /// The Services that get nothing from this node, if every live node leaves some of them dark.
    fn dark_everywhere<'a>(&self, ip: IpAddr, users: &[&'a ServiceView]) -> Option<Vec<&'a ServiceView>> {
        let dark = |node: &str| dark(&self.cluster.endpoints, ip, users, node);
        let here = dark(&self.settings.node);
        let remote = self.remote.desired().contains_key(&ip);
        let mut others = self.local.live().map(|member| member.node.as_str());
        let serves_all = |node: &str| (remote || self.cluster.members.reaches(node, ip)) && dark(node).is_empty();
        (!here.is_empty() && !others.any(serves_all)).then_some(here)
    }

    /// Who answers for an address although some of its Services get nothing; nothing if another node reports that, or if a
    /// node that serves some of them is about to claim it.
    fn consequence(&self, ip: IpAddr, users: &[&ServiceView]) -> Option<String> {
        let node = &self.settings.node;
        if self.local.held.contains_key(&ip) {
            Some(format!("node {node} keeps it"))
        } else if self.remote.desired().contains_key(&ip) {
            self.is_responsible(ip).then(|| "the nodes with endpoints of most of them have it".to_owned())
        } else {
            let local = users.iter().filter(|user| user.traffic_local).count();
            let serves_none = |node: &str| dark(&self.cluster.endpoints, ip, users, node).len() == local;
            let mut others = self.local.live().map(|member| member.node.as_str());
            let nobody = serves_none(node) && others.all(serves_none);
            let reports = self.local.members.is_some() && !self.is_announced(ip) && self.is_first(ip);
            (nobody && reports).then(|| "nobody answers for it".to_owned())
        }
    }

    /// Whether it is for this node to report what concerns an address that it announces: its owner, or of all nodes with a
    /// remote address the first by name.
    fn is_responsible(&self, ip: IpAddr) -> bool {
        let first = || self.local.live().all(|member| self.settings.node.as_str() < member.node.as_str());
        self.local.held.contains_key(&ip) || self.remote.desired().contains_key(&ip) && first()
    }

    /// Whether the annotation of a Service names a live node that announces the address.
    fn is_announced(&self, ip: IpAddr) -> bool {
        let mut nodes = self.cluster.services.of(ip).filter_map(|service| service.announcer(ip));
        nodes.any(|node| node == self.settings.node || self.local.live().any(|member| member.node.as_str() == node))
    }

    /// Whether this node is the first in order of the live ones that reach the address.
    fn is_first(&self, ip: IpAddr) -> bool {
        let Some(node) = NodeId::new(&self.settings.node) else { return false };
        let mut others = self.local.live().filter(|member| self.cluster.members.reaches(member.node.as_str(), ip));
        others.all(|other| order::precedes(&node, &other.node, &ip))
    }

    /// Whether the kernel has the address from us.
    fn has_from_us(&self, ip: IpAddr) -> bool {
        let ours = self.ours();
        self.host.observed().of(ip).any(|(key, found)| ours.includes(key, found))
    }
}
