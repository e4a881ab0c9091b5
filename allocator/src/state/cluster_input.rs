//! Changes of Leases, Nodes, external IPs and ServiceCIDRs.

use std::net::IpAddr;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use k8s_openapi::jiff::Timestamp;
use runtime::BootTime;

use super::external_ips::Watch;
use super::index::Index;
use crate::addresses::ReservedFor;
use crate::model::{ExternalIps, Node, ServiceName, ServiceNetworks};

/// Leases.
impl Index {
    /// A Lease was added or changed; `wall` is the time of day.
    pub fn apply_lease(&mut self, lease: &Lease, now: BootTime, wall: Timestamp) {
        if self.cluster.members.apply(lease, now, wall) {
            self.announcing.touch();
            self.status.touch_all();
        }
        if let Some(node) = api_types::lease::node(lease) {
            self.reserve_of_member(node);
        }
    }

    /// Whether the agent of the node has renewed its Lease within its duration.
    #[must_use]
    pub fn is_agent_alive(&self, node: &str, now: BootTime) -> bool {
        self.cluster.members.is_alive(node, now)
    }

    /// A Lease was deleted.
    pub fn delete_lease(&mut self, lease: &Lease) {
        self.cluster.members.delete(lease);
        self.announcing.touch();
        self.status.touch_all();
        if let Some(node) = api_types::lease::node(lease) {
            self.reserve_of_member(node);
            self.set_node_subnets(self.cluster.members.subnets());
        }
    }

    /// The complete list of Leases; `wall` is the time of day.
    pub fn reset_leases(&mut self, leases: &[Lease], now: BootTime, wall: Timestamp) {
        let mut nodes: Vec<String> = self.cluster.members.nodes().map(str::to_owned).collect();
        self.cluster.members.reset(leases, now, wall);
        self.announcing.touch();
        nodes.extend(leases.iter().filter_map(api_types::lease::node).map(str::to_owned));
        for node in nodes {
            self.reserve_of_member(&node);
        }
        self.set_node_subnets(self.cluster.members.subnets());
        self.status.touch_all();
    }

    /// Time has passed: Leases may have run out.
    pub fn expire_leases(&mut self, now: BootTime) {
        for node in self.cluster.members.expire(now) {
            self.reserve_of_member(&node);
            self.announcing.touch();
            self.status.touch_all();
        }
        self.set_node_subnets(self.cluster.members.subnets());
    }

    /// Reserves what the Lease of the node lists, as long as that counts.
    fn reserve_of_member(&mut self, node: &str) {
        let exists = self.cluster.nodes.may_exist(node);
        let (own, gateways) = self.cluster.members.reserved(node, exists);
        let (own, gateways) = (own.to_vec(), gateways.to_vec());
        self.set_reserved(&ReservedFor::NodeKernel(node.into()), &own);
        self.set_reserved(&ReservedFor::Gateway(node.into()), &gateways);
    }
}

/// Nodes.
impl Index {
    /// A Node was added or changed.
    pub fn apply_node(&mut self, node: Node) {
        let name = node.name.clone();
        self.set_reserved(&ReservedFor::NodeStatus(name.as_str().into()), &node.addresses);
        let networks = node.pod_networks.clone();
        let excluded = node.excluded;
        let before = self.cluster.nodes.apply(node);
        if before.as_ref().is_none_or(|before| before.excluded != excluded) {
            self.announcing.touch();
        }
        if before.as_ref().is_none_or(|before| before.pod_networks != networks) {
            self.status.touch_all();
        }
        if before.is_none() {
            self.reserve_of_member(&name);
        }
    }

    /// A Node was deleted.
    pub fn delete_node(&mut self, name: &str) {
        self.announcing.touch();
        if self.cluster.nodes.delete(name).is_some() {
            self.status.touch_all();
        }
        self.set_reserved(&ReservedFor::NodeStatus(name.into()), &[]);
        self.reserve_of_member(name);
    }

    /// The complete list of Nodes.
    pub fn reset_nodes(&mut self, nodes: Vec<Node>) {
        for gone in self.cluster.nodes.begin_list(&nodes) {
            self.delete_node(&gone);
        }
        for node in nodes {
            self.apply_node(node);
        }
        let members: Vec<String> = self.cluster.members.nodes().map(str::to_owned).collect();
        for node in members {
            self.reserve_of_member(&node);
        }
    }
}

/// External IPs.
impl Index {
    /// The external IPs of a Service of another type; none if it is gone.
    pub fn set_external_ips(&mut self, name: &ServiceName, ips: ExternalIps) {
        let changed = self.cluster.external_ips.set(name, Watch::OtherTypes, ips);
        self.reserve_external_ips(changed);
    }

    /// The complete list of external IPs of Services of other types.
    pub fn reset_external_ips(&mut self, listed: Vec<(ServiceName, ExternalIps)>) {
        let changed = self.cluster.external_ips.reset(Watch::OtherTypes, listed);
        self.reserve_external_ips(changed);
    }

    /// The external IPs of a Service of type `LoadBalancer`; none if it is gone.
    pub(super) fn set_own_external_ips(&mut self, name: &ServiceName, ips: ExternalIps) {
        let changed = self.cluster.external_ips.set(name, Watch::LoadBalancers, ips);
        let news = changed.iter().any(|(changed, _)| changed == name);
        self.reserve_external_ips(changed);
        if news {
            self.check_external_ips(name);
        }
    }

    fn reserve_external_ips(&mut self, changed: Vec<(ServiceName, Vec<IpAddr>)>) {
        for (name, addresses) in changed {
            let namespace = name.namespace().to_owned();
            let gone = self.set_reserved(&ReservedFor::ExternalIp(name), &addresses);
            self.open_vip_ports(&namespace, gone.into_iter().chain(addresses));
        }
    }
}

/// ServiceCIDRs.
impl Index {
    /// A ServiceCIDR was added or changed.
    pub fn apply_service_cidr(&mut self, object: &ServiceCIDR) {
        let mut networks = self.groups.service_networks().clone();
        networks.apply(object);
        self.set_service_networks(networks);
    }

    /// A ServiceCIDR was deleted.
    pub fn delete_service_cidr(&mut self, object: &ServiceCIDR) {
        let mut networks = self.groups.service_networks().clone();
        networks.delete(object);
        self.set_service_networks(networks);
    }

    /// The complete list of ServiceCIDRs.
    pub fn reset_service_cidrs(&mut self, objects: Vec<ServiceCIDR>) {
        self.set_service_networks(objects.into_iter().collect::<ServiceNetworks>());
    }
}
