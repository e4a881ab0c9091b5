//! Names that users, dashboards and tools rely on (specification, api.md 5, 6 and 9).

/// Annotations that users set on a Service.
pub mod annotation {
    /// The ServiceGroup to allocate from. If several are listed, joined by commas, each address family uses the first
    /// group that has ranges of that family.
    pub const SERVICE_GROUP: &str = "purelb.io/service-group";
    /// The addresses that the Service must get, joined by commas.
    pub const ADDRESSES: &str = "purelb.io/addresses";
    /// The sharing key: Services with the same key may share an address.
    pub const ALLOW_SHARED_IP: &str = "purelb.io/allow-shared-ip";
    /// Accepted for compatibility with upstream, without effect: a local address always honours the traffic policy.
    pub const ALLOW_LOCAL: &str = "purelb.io/allow-local";
    /// `true`: one address from each range of the group.
    pub const MULTI_POOL: &str = "purelb.io/multi-pool";
    /// `true`: allocate once as if the Service were new. The allocator removes the annotation.
    pub const RE_EVALUATE: &str = "purelb.io/re-evaluate";
    /// `true` on a Service without a class: this load balancer takes its addresses off and leaves the Service to others.
    pub const RELEASE: &str = "purelb.io/release";
    /// `service-endpoints`: prefer nodes with endpoints for local addresses.
    pub const NODE_AFFINITY: &str = "purelb.io/node-affinity";
    /// Each new value moves the Service's local addresses once to their first candidate.
    pub const REBALANCE: &str = "purelb.io/rebalance";
    /// `Disabled`: the Service's addresses let in more than the ports of their Services.
    pub const VIP_GUARD: &str = "purelb.io/vip-guard";

    /// Written by the allocator: [`ALLOCATED_BY_US`] if the addresses of the Service come from it.
    pub const ALLOCATED_BY: &str = "purelb.io/allocated-by";
    /// Written by the allocator: the group of each address.
    pub const ALLOCATED_FROM: &str = "purelb.io/allocated-from";
    /// Written by the allocator: the addresses that it gave, joined by commas.
    pub const ALLOCATED_ADDRESSES: &str = "purelb.io/allocated-addresses";
    /// Written by the allocator: the UID of the object to which it gave them.
    pub const ALLOCATED_TO: &str = "purelb.io/allocated-to";
    /// Written by the allocator: `local` or `remote`.
    pub const POOL_TYPE: &str = "purelb.io/pool-type";
    /// Written by the allocator: `true` if the group has `skipIPv6DAD`.
    pub const SKIP_IPV6_DAD: &str = "purelb.io/skip-ipv6-dad";
    /// Written by the allocator: ports of other Services of the namespace that list an address of the Service in
    /// `externalIPs`. They are open on that address ([`crate::vip_ports`]).
    pub const VIP_PORTS: &str = "purelb.io/vip-ports";
    /// Written by the agents: which nodes announce the IPv4 addresses, and on which interfaces.
    pub const ANNOUNCING_IPV4: &str = "purelb.io/announcing-IPv4";
    /// Written by the agents: which nodes announce the IPv6 addresses, and on which interfaces.
    pub const ANNOUNCING_IPV6: &str = "purelb.io/announcing-IPv6";

    /// Written by the allocator, and removed by its next write.
    ///
    /// A new leader writes it to each Service that waits for an address: a late write of its predecessor then has an
    /// old resource version and fails. The allocator also writes it before it adds an address to a Service that already
    /// has all it asks for, so that a later leader knows of the pending change.
    pub const LEADER_FENCE: &str = "purelb.io/leader-fence";

    /// Written by the allocator before it asks an IPAM sidecar for addresses: the groups that it may have asked, until the
    /// Service has what they gave. A later leader then knows of calls whose answer its predecessor did not live to see.
    pub const ASKED_OF: &str = "purelb.io/asked-of";

    /// The value of [`ALLOCATED_BY`].
    pub const ALLOCATED_BY_US: &str = "PureLB";

    /// All annotations that the allocator and the agents write. They are removed from a Service that is no longer
    /// served.
    pub const WRITTEN: [&str; 11] = [
        ALLOCATED_BY,
        ALLOCATED_FROM,
        ALLOCATED_ADDRESSES,
        ALLOCATED_TO,
        POOL_TYPE,
        SKIP_IPV6_DAD,
        VIP_PORTS,
        ANNOUNCING_IPV4,
        ANNOUNCING_IPV6,
        LEADER_FENCE,
        ASKED_OF,
    ];
}

/// Types of conditions on Services.
pub mod condition {
    /// `True` while the Service shares an address with a Service that does not agree about it, for example because
    /// their sharing keys differ. Absent otherwise.
    pub const SHARING_CONFLICT: &str = "purelb.io/SharingConflict";
    /// `True` while the Service has an address that nobody announces; absent otherwise.
    pub const NOT_ANNOUNCED: &str = "purelb.io/NotAnnounced";
    /// `True` while somebody overwrites the Service's status or annotations faster than they are put back; absent
    /// otherwise.
    pub const OVERWRITTEN: &str = "purelb.io/Overwritten";
    /// `True` while the ServiceGroup of one of the Service's addresses is gone and no other one has its range; absent
    /// otherwise.
    pub const GROUP_DELETED: &str = "purelb.io/GroupDeleted";

    /// All conditions that the allocator writes.
    pub const OURS: [&str; 4] = [SHARING_CONFLICT, NOT_ANNOUNCED, OVERWRITTEN, GROUP_DELETED];
}

/// Types of conditions on ServiceGroups that tools read.
pub mod group_condition {
    /// `True` while the group is in use.
    pub const READY: &str = "Ready";
    /// `True` while only an edit can make the group ready; absent otherwise. Tools that wait for an object give up then
    /// (kstatus, "Stalled").
    pub const STALLED: &str = "Stalled";

    /// Reasons of the condition `Ready` that say more than their message.
    pub mod ready_reason {
        /// The group is in use.
        pub const ACCEPTED: &str = "Accepted";
        /// An external group is in use; its sidecar has not been heard yet.
        pub const CONNECTING: &str = "Connecting";
        /// An external group is in use; its sidecar does not answer.
        pub const SIDECAR_UNAVAILABLE: &str = "SidecarUnavailable";
        /// A range lies in a network of cluster IPs. Only the allocator watches these.
        pub const OVERLAPS_SERVICE_CIDR: &str = "OverlapsServiceCIDR";

        /// The reasons of groups that are in force.
        pub const OF_ACCEPTED: [&str; 3] = [ACCEPTED, CONNECTING, SIDECAR_UNAVAILABLE];
    }
}

/// Types of conditions on LBNodeAgents.
pub mod agent_condition {
    pub use super::group_condition::{READY, STALLED};

    /// Reasons of the condition `Ready`.
    pub mod ready_reason {
        pub use super::super::group_condition::ready_reason::ACCEPTED;
        /// A setting has a value that cannot be used.
        pub const INVALID: &str = "Invalid";
        /// The release of the agents cannot read a value.
        pub const UNREADABLE: &str = "Unreadable";
    }
}

/// The values of `spec.loadBalancerClass` that select this load balancer: the class of version v1 and that of v2.
pub const CLASSES: [&str; 2] = ["purelb.io/purelb", "purelb.io/purelbv2"];

/// The value of the environment variable `DEFAULT_ANNOUNCER` with which Services without a class are served.
pub const DEFAULT_ANNOUNCER: &str = "PureLB";

/// The namespace in which the manifests install the load balancer.
pub const DEFAULT_NAMESPACE: &str = "purelb";

/// The ServiceGroup of Services that name none.
pub const DEFAULT_GROUP: &str = "default";

/// The dummy interface for remote addresses, unless an LBNodeAgent names another.
pub const DUMMY_INTERFACE: &str = "kube-lb0";

/// The Lease with which the allocator's replicas elect their leader.
pub const LEADER_LEASE: &str = "purelb-allocator";

/// The ConfigMap in which the allocator records what it owes to IPAM sidecars.
pub const OWED_RECORD: &str = "purelb-ipam-owed";

/// The Secret that holds the key of the agents' gossip.
pub const GOSSIP_SECRET: &str = "purelb-gossip";

/// Services that are never served, as (namespace, name).
pub const RESERVED_SERVICES: [(&str, &str); 4] = [
    ("default", "kubernetes"),
    ("kube-system", "kube-dns"),
    ("kube-system", "kube-controller-manager"),
    ("kube-system", "kube-scheduler"),
];

/// The label that takes a node out of all load balancing (Kubernetes well-known labels).
pub const EXCLUDE_NODE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The label that names the service proxy of a Service; kube-proxy leaves those that have it to others (Kubernetes
/// well-known labels).
pub const SERVICE_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";

/// Reasons of Kubernetes events. Each comment names the type of the event and the kind of its object.
pub mod reason {
    /// Normal, Service: an address was allocated.
    pub const ADDRESS_ASSIGNED: &str = "AddressAssigned";
    /// Normal, Service: an address was released.
    pub const ADDRESS_RELEASED: &str = "AddressReleased";
    /// Warning, Service: no address could be allocated.
    pub const ALLOCATION_FAILED: &str = "AllocationFailed";
    /// Warning, Service, ServiceGroup or ConfigMap: an IPAM sidecar did not release an address.
    pub const RELEASE_FAILED: &str = "ReleaseFailed";
    /// Warning, ServiceGroup: an IPAM sidecar does not have for the Services what they have.
    pub const IPAM_DIFFERS: &str = "IPAMDiffers";
    /// Normal or Warning, Service: its settings contradict each other or those of the groups.
    pub const CONFIGURATION_WARNING: &str = "ConfigurationWarning";
    /// Normal, Service: a deprecated field is used.
    pub const DEPRECATION_WARNING: &str = "DeprecationWarning";
    /// Warning, Service: the Services that share an address no longer agree about it.
    pub const SHARING_CONFLICT: &str = "SharingConflict";
    /// Warning, Service: one of its addresses also belongs to another Service that may not share it.
    pub const DUPLICATE_ADDRESS: &str = "DuplicateAddress";
    /// Normal, Service: it has no address of one of the families that it prefers.
    pub const FAMILY_UNAVAILABLE: &str = "FamilyUnavailable";
    /// Warning, Service: somebody overwrote the addresses in the status, and they have been put back.
    pub const STATUS_OVERWRITTEN: &str = "StatusOverwritten";
    /// Warning, Service: the status has addresses that another load balancer gave.
    pub const FOREIGN_ADDRESS: &str = "ForeignAddress";
    /// Warning, Service: it has an address that a node, a gateway or a network has; it keeps it.
    pub const RESERVED_ADDRESS: &str = "ReservedAddress";
    /// Normal, Service: an edit would give it other addresses if it were judged as new.
    pub const RE_EVALUATE_NEEDED: &str = "ReEvaluateNeeded";
    /// Warning, Service or ServiceGroup: an address is announced by nobody.
    pub const NOT_ANNOUNCED: &str = "NotAnnounced";
    /// Warning, Service: the API server does not answer writes of its status in time.
    pub const API_SERVER_SLOW: &str = "APIServerSlow";
    /// Normal, ServiceGroup: accepted.
    pub const PARSED: &str = "Parsed";
    /// Warning, ServiceGroup: refused.
    pub const PARSE_FAILED: &str = "ParseFailed";
    /// Warning, ServiceGroup: it is outside the install namespace and therefore not used.
    pub const OUT_OF_SCOPE: &str = "ServiceGroupOutOfScope";
    /// Normal, Service: this node now answers for a local address.
    pub const ANNOUNCING_LOCAL: &str = "AnnouncingLocal";
    /// Normal, Service: this node has a remote address on its dummy interface.
    pub const ANNOUNCING_NON_LOCAL: &str = "AnnouncingNonLocal";
    /// Warning, Service: an address could not be announced.
    pub const ANNOUNCEMENT_FAILED: &str = "AnnouncementFailed";
    /// Warning, Service or Node: another program removed an address, and the agent has added it again.
    pub const ADDRESS_REPAIRED: &str = "AddressRepaired";
    /// Warning, Node: another program deleted or replaced the dummy interface.
    pub const INTERFACE_REPAIRED: &str = "InterfaceRepaired";
    /// Warning, Node: the dummy interface does not exist and cannot be created.
    pub const INTERFACE_UNAVAILABLE: &str = "InterfaceUnavailable";
    /// Warning, Node: the selection of interfaces matches nothing here, or an interface cannot carry addresses.
    pub const INTERFACE_UNUSABLE: &str = "InterfaceUnusable";
    /// Warning, Node: the directory of the record of addresses cannot be written.
    pub const RECORD_UNWRITABLE: &str = "RecordUnwritable";
    /// Warning, Node: the API server does not accept the agent's Lease, or does not answer.
    pub const LEASE_NOT_RENEWED: &str = "LeaseNotRenewed";
    /// Warning, Node: the Node's status lists an address that we announce.
    pub const NODE_ADDRESS: &str = "NodeAddress";
    /// Warning, Node: the kernel gives an address of a Service to packets of the node itself as their source.
    pub const SOURCE_ADDRESS: &str = "SourceAddress";
    /// Normal, Service: its traffic policy `Local` is honoured for a local address.
    pub const LOCAL_OVERRIDE: &str = "LocalOverride";
    /// Normal, Service: another node's entry in the announcing annotation was replaced.
    pub const ANNOUNCE_SLOT_STEAL: &str = "AnnounceSlotSteal";
    /// Warning, Service: a foreign host uses a local address.
    pub const ADDRESS_CONFLICT: &str = "AddressConflict";
    /// Warning, Service: a node answered ARP for an address that it does not own. kube-proxy needs `strictARP`.
    pub const STRICT_ARP_NEEDED: &str = "StrictARPNeeded";
    /// Warning, Service: two agents claimed a local address, and one has withdrawn.
    pub const ADDRESS_CONTESTED: &str = "AddressContested";
    /// Warning, Service: no node has endpoints of all Services that share the address with traffic policy `Local`.
    pub const NO_ELIGIBLE_NODES: &str = "NoEligibleNodes";
    /// Warning, Service: its traffic policy is `Local`, and a node that announces it has no endpoint of one of its ports.
    pub const PORT_UNSERVED: &str = "PortUnserved";
    /// Warning, Service: an address has to move to another node, but no node can take it.
    pub const NO_SUCCESSOR: &str = "NoSuccessor";
    /// Warning, Service: all nodes of the subnet are excluded from load balancers, so the exclusion is ignored there.
    pub const EXCLUSION_IGNORED: &str = "ExclusionIgnored";
    /// Warning, Node: a host on the node's network answers ARP requests for any address.
    pub const PROXY_ARP: &str = "ProxyARP";
    /// Warning, Node: no other agent answers its gossip.
    pub const GOSSIP_SILENT: &str = "GossipSilent";
    /// Warning, Node: another program uses the UDP port of the gossip.
    pub const GOSSIP_PORT_UNAVAILABLE: &str = "GossipPortUnavailable";
    /// Warning, Node: another agent uses another gossip key.
    pub const GOSSIP_KEY_MISMATCH: &str = "GossipKeyMismatch";
    /// Warning, Node: no host answers on an interface for local addresses, so no address is claimed there.
    pub const LINK_DEAF: &str = "LinkDeaf";
    /// Warning, Node: its addresses of Services let in more than the ports of these Services, because no kube-proxy runs
    /// here or the kernel takes no rules.
    pub const VIP_GUARD_OFF: &str = "VIPGuardOff";
    /// Warning, Node: kube-proxy was on it and does not answer any more.
    pub const KUBE_PROXY_FAILED: &str = "KubeProxyFailed";
    /// Warning, Node: somebody removed the rules of kube-proxy, and it has not put them back.
    pub const PROXY_RULES_GONE: &str = "ProxyRulesGone";
    /// Normal, Node: a router and the node hear each other by BFD.
    pub const SESSION_UP: &str = "SessionUp";
    /// Normal or Warning, Node: a router and the node do not hear each other by BFD any more.
    pub const SESSION_DOWN: &str = "SessionDown";
    /// Warning, Node: BFD cannot work with a router, for example because another program uses the port.
    pub const BFD_UNAVAILABLE: &str = "BFDUnavailable";
    /// Warning, Node: it passes the addresses of other nodes on to routers, because Calico's mesh is on.
    pub const CALICO_EXPORTS: &str = "CalicoExports";
    /// Warning, LBNodeAgent: its node selector cannot be evaluated.
    pub const INVALID_NODE_SELECTOR: &str = "InvalidNodeSelector";
    /// Warning, LBNodeAgent: it selects this node, but another LBNodeAgent applies.
    pub const CONFIG_IGNORED: &str = "ConfigIgnored";
    /// Warning, LBNodeAgent: its configuration is not valid.
    pub const CONFIG_ERROR: &str = "ConfigError";
}
