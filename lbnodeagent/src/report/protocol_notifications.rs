//! What the protocol for local addresses notices, as logs and Kubernetes events.

use std::net::IpAddr;

use api_types::names::reason;
use ownership::{Notification, Refusal};
use runtime::events::Kind as Severity;

use super::metrics::ownership::{cause_word, why_word};
use super::reporter::Reporter;
use crate::cluster::store::Store;
use crate::model::observed::Observed;

impl Reporter {
    /// A fact that the protocol noticed.
    pub fn fact(&self, cluster: &Store, observed: &Observed, fact: Notification) {
        let node = &self.node;
        let warn = |address: IpAddr, reason: &'static str, text: &str| {
            tracing::warn!(op = "ownership", event = reason, ip = %address, "{text}");
            self.services(&cluster.services, address, Severity::Warning, reason, text);
        };
        match fact {
            Notification::Claimed { address, epoch, cause, from, without } => {
                let from = from.map(|from| from.to_string());
                let millis = without.map(|without| u64::try_from(without.as_millis()).unwrap_or(u64::MAX));
                tracing::info!(op = "claim", ip = %address, epoch, cause = cause_word(cause), from, silentMillis = millis, "claimed");
            }
            Notification::Released { address, why, to } => {
                let to = to.map(|to| to.to_string());
                tracing::info!(op = "release", ip = %address, reason = why_word(why), to, "given up");
            }
            Notification::AddressConflict { address, mac, defended: false } => {
                let text = format!(
                    "host {mac}, which is no node of this cluster, answers for {address}, so node {node} does not claim the address: find the host, or remove the address from the pool"
                );
                warn(address, reason::ADDRESS_CONFLICT, &text);
            }
            Notification::AddressConflict { address, mac, defended: true } => {
                let text = format!(
                    "host {mac}, which is no node of this cluster, announces {address}, and node {node} defends the address: find the host, or remove the address from the pool"
                );
                warn(address, reason::ADDRESS_CONFLICT, &text);
            }
            Notification::ConflictOnNode { address, node: other, yielded } => {
                let consequence = if yielded { "has given the address up" } else { "does not claim the address" };
                let text = format!(
                    "node {other} has {address} from somebody else, as its own address or another program's, so node {node} {consequence}: remove it from the ServiceGroup's pool, or from node {other}"
                );
                warn(address, reason::ADDRESS_CONFLICT, &text);
            }
            Notification::StrictArpNeeded { node: other, address, routed: true } => {
                let text = format!(
                    "node {other} announces {address} as a route and answers ARP for it too, so its answers are ignored: set net.ipv4.conf.all.arp_ignore to 1 there"
                );
                warn(address, reason::STRICT_ARP_NEEDED, &text);
            }
            Notification::StrictArpNeeded { node: other, address, routed: false } => {
                let text = format!(
                    "node {other} answers ARP for {address} without announcing it: set strictARP in kube-proxy's ipvs configuration, or net.ipv4.conf.all.arp_ignore to 1 there"
                );
                warn(address, reason::STRICT_ARP_NEEDED, &text);
            }
            Notification::TwoClaims { address, rival, kept } => {
                let text = if kept {
                    format!(
                        "node {node} and another node answered for {address} at the same time; node {node} keeps it"
                    )
                } else {
                    format!(
                        "nodes {node} and {rival} answered for {address} at the same time; node {node} has given it up"
                    )
                };
                warn(address, reason::ADDRESS_CONTESTED, &text);
            }
            Notification::NoSuccessor { address } => {
                let text =
                    format!("{address} should move away from node {node}, but no other node can take it, so it stays");
                warn(address, reason::NO_SUCCESSOR, &text);
            }
            Notification::ExclusionIgnored { address } => {
                let text = format!(
                    "every node that can answer for {address} has the label that excludes it from load balancers, so the label is ignored for this address"
                );
                warn(address, reason::EXCLUSION_IGNORED, &text);
            }
            Notification::MoveFailed { address, to } => {
                tracing::warn!(op = "move", ip = %address, %to, "the new owner did not claim the address: taken back");
            }
            fact => self.other_fact(cluster, observed, fact),
        }
    }

    /// A fact that concerns no single address.
    fn other_fact(&self, cluster: &Store, observed: &Observed, fact: Notification) {
        let name = |link: ownership::LinkId| observed.name_of(link.0);
        match fact {
            Notification::ProxyArp { link, mac } => {
                let interface = name(link);
                let text = format!(
                    "host {mac} on interface {interface} answers ARP for free addresses (proxy ARP), so its answers are ignored"
                );
                tracing::warn!(op = "ownership", event = reason::PROXY_ARP, interface, %mac, "{text}");
                self.node(cluster, reason::PROXY_ARP, &text);
            }
            Notification::Deaf { link } => {
                let interface = name(link);
                let text = format!(
                    "neither another node nor the gateway answers on interface {interface}, so no address is claimed there: check the cable and the network"
                );
                tracing::warn!(op = "ownership", event = reason::LINK_DEAF, interface, "{text}");
                self.node(cluster, reason::LINK_DEAF, &text);
            }
            Notification::GossipSilent => {
                let port = self.gossip_port;
                let text = format!(
                    "no other agent answers on UDP port {port}, so that Leases show which nodes live and failover takes seconds: check for a firewall between the nodes"
                );
                tracing::warn!(op = "gossip", event = reason::GOSSIP_SILENT, "{text}");
                self.node(cluster, reason::GOSSIP_SILENT, &text);
            }
            Notification::Refused(Refusal::WrongKey) => {
                let text = "an agent with another gossip key than this one is ignored: check that the Secret purelb-gossip is the same for all agents";
                tracing::debug!(op = "gossip", event = reason::GOSSIP_KEY_MISMATCH, "{text}");
                self.node(cluster, reason::GOSSIP_KEY_MISMATCH, text);
            }
            Notification::Alarm { node, link, own } => {
                tracing::warn!(op = "alarm", %node, interface = name(link), own, "the node does not answer in any way");
            }
            Notification::AgentSilent { node } => {
                tracing::warn!(op = "members", %node, "the agent does not answer but its kernel does: its addresses stay there");
            }
            Notification::Paused(gap) => {
                let millis = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
                tracing::warn!(op = "pause", millis, "this agent did not run for a while");
            }
            Notification::Member { node, liveness } => tracing::debug!(op = "members", %node, ?liveness, "member"),
            other => tracing::debug!(op = "ownership", fact = ?other, "fact"),
        }
    }
}
