//! Configuration, interfaces and subnets.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use api_types::names::reason;
use ipnetwork::IpNetwork;
use k8s_openapi::api::core::v1::ObjectReference;
use runtime::BootTime;
use runtime::events::{Event, Kind};

use super::{Agent, DUMMY_RETRY};
use crate::cluster::configuration::{Mode, Notice};
use crate::decide::interfaces::Selection;
use crate::decide::networks::{Connected, own_addresses};
use crate::model::address::{AddressKey, KernelAddress, MARK};
use crate::report::lease::content::Content;

impl Agent {
    /// Chooses the configuration anew.
    pub(super) fn refresh_config(&mut self) {
        let (mode, notices) = self.cluster.configuration();
        let notices: BTreeSet<Notice> = notices.into_iter().collect();
        for notice in notices.difference(&self.notices) {
            tracing::warn!(op = "setConfig", agent = notice.agent.1, reason = notice.reason, "{}", notice.text);
            self.outside.events.publish(Event {
                object: lb_node_agent(&notice.agent),
                kind: Kind::Warning,
                reason: notice.reason,
                note: notice.text.clone(),
            });
        }
        self.notices = notices;
        self.outside.metrics.set_mode(&mode);
        if mode != self.mode || !self.first_pass_done {
            self.report_mode(&mode);
            self.mode = mode;
            self.note_selected(BootTime::now());
            self.interfaces_changed = true;
            self.cluster.mark_all();
        }
    }

    fn report_mode(&self, mode: &Mode) {
        let state = mode.state();
        let Some(config) = mode.config() else {
            tracing::warn!(
                op = "setConfig",
                event = "noConfig",
                node = self.settings.node,
                state,
                "announcing nothing"
            );
            return;
        };
        tracing::info!(op = "setConfig", state, dummyInterface = config.dummy_interface, "configured");
        if config.announcements.disabled {
            let text = "gratuitous ARP is switched off: clients find a moved address only when their caches expire";
            tracing::warn!(op = "setConfig", "{text}");
        }
    }

    /// Looks at the interfaces anew: which of them are selected, is the dummy interface there.
    pub(super) async fn refresh_interfaces(&mut self) {
        self.interfaces_changed = false;
        let dummy = self.refresh_dummy().await;
        let is_vip = self.vips();
        let selection = self
            .mode
            .config()
            .map_or_else(Selection::default, |config| Selection::new(config, &self.observed, is_vip, &self.selection));
        let connected = Connected::new(&self.observed, is_vip);
        if dummy != self.dummy || selection != self.selection || connected != self.connected {
            self.cluster.mark_all();
        }
        self.dummy = dummy;
        (self.selection, self.connected) = (selection, connected);
        self.refresh_subnets();
    }

    /// The index of the dummy interface, which is created if it is missing.
    async fn refresh_dummy(&mut self) -> Option<u32> {
        self.dummy_retry = None;
        let name = self.mode.config()?.dummy_interface.clone();
        let found = self.observed.index_of(&name);
        if found.is_some()
            && found == self.dummy
            && found.and_then(|index| self.observed.links.get(&index)).is_some_and(|link| link.up)
        {
            return found;
        }
        let lost = self.dummy.is_some_and(|index| !self.observed.links.contains_key(&index));
        let observed = self.observed.clone();
        let wanted = name.clone();
        match self.with_kernel(move |kernel| kernel.ensure_dummy(&wanted, &observed)).await {
            Ok(index) => {
                tracing::info!(
                    op = "dummyInterface",
                    interface = name,
                    created = found.is_none(),
                    "ready for remote addresses"
                );
                if lost {
                    let text = format!("interface {name} was deleted or replaced: its addresses are put there again");
                    self.tell_node(reason::INTERFACE_REPAIRED, &text);
                }
                // Our own doing is in the queue by now.
                self.hear().await;
                Some(index)
            }
            Err(error) => {
                self.dummy_retry = Some(BootTime::now() + DUMMY_RETRY);
                // One that is there is better than none: what is announced on it stays.
                let kept = self.dummy.filter(|index| self.observed.links.contains_key(index));
                let stay = match kept {
                    Some(index) => format!("they stay on {}", self.observed.name_of(index)),
                    None => "none is announced".to_owned(),
                };
                let text = format!(
                    "interface {name} for remote addresses is not ready, {error}: {stay}. Does this kernel have the module dummy? It is tried again every 30 s"
                );
                tracing::warn!(op = "dummyInterface", event = reason::INTERFACE_UNAVAILABLE, interface = name, %error, "{text}");
                self.tell_node(reason::INTERFACE_UNAVAILABLE, &text);
                kept
            }
        }
    }

    fn refresh_subnets(&mut self) {
        let subnets = self.selection.subnets();
        let count = i64::try_from(subnets.len()).unwrap_or(i64::MAX);
        self.outside.metrics.local_subnets.set(count);
        if self.cluster.members.set_own_subnets(subnets.clone(), BootTime::now()) {
            let text = api_types::lease::subnets_value(&subnets);
            tracing::info!(op = "subnets", event = "subnetsChanged", subnets = text, "this node's subnets changed");
            self.cluster.mark_all();
        }
        let Some(content) = self.content(subnets) else { return };
        self.outside.lease.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&content);
            *current = Some(content);
            changed
        });
    }

    /// Says which addresses are announced ones.
    fn vips(&self) -> impl Fn(&AddressKey, &KernelAddress) -> bool + Copy {
        |key, found| found.mark == Some(MARK) || self.record.keys().contains(key)
    }

    /// What our Lease is to say.
    fn content(&self, subnets: Vec<IpNetwork>) -> Option<Content> {
        let node = self.cluster.node.as_ref()?;
        let is_vip = self.vips();
        // Those of interfaces without a cable too: others must know whose they are.
        let own = self.selection.iter().flat_map(|selected| own_addresses(&self.observed, selected.index, is_vip));
        let own: BTreeSet<(IpAddr, u8)> = own.map(|key| (key.ip, key.prefix_len)).collect();
        // Those with which this node can be seen to answer: not those of the hosts' ends of pods, which come and go.
        let on_a_network: BTreeSet<u32> =
            self.observed.addresses.iter().filter(|(_, found)| found.scope == 0).map(|(key, _)| key.index).collect();
        let seen = self.observed.links.iter().filter(|(index, link)| {
            link.resolves && !link.loopback && (on_a_network.contains(index) || self.selection.has(**index))
        });
        let macs: BTreeSet<[u8; 6]> = seen.filter_map(|(_, link)| link.mac).filter(|mac| *mac != [0; 6]).collect();
        let mut hosts = node.internal.clone();
        hosts.extend(own.iter().map(|(ip, _)| *ip));
        let mut endpoints: Vec<SocketAddr> = Vec::new();
        for host in hosts {
            let endpoint = SocketAddr::new(host, self.settings.gossip_port);
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        Some(Content {
            node_uid: node.uid.clone(),
            subnets,
            addresses: own.into_iter().filter_map(|(ip, length)| IpNetwork::new(ip, length).ok()).collect(),
            macs: macs.into_iter().collect(),
            endpoints,
            gossip_silent: self.local.silent,
        })
    }
}

fn lb_node_agent((namespace, name): &(String, String)) -> ObjectReference {
    ObjectReference {
        api_version: Some("purelb.io/v2".to_owned()),
        kind: Some("LBNodeAgent".to_owned()),
        namespace: Some(namespace.clone()),
        name: Some(name.clone()),
        ..ObjectReference::default()
    }
}
