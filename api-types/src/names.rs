//! Names that users, dashboards and tools rely on (specification, api.md 5, 6 and 9).

/// Annotations that users set on a Service.
pub mod annotation {
    /// The ServiceGroup to allocate from; several, joined by commas: each family takes the first
    /// that has ranges of it.
    pub const SERVICE_GROUP: &str = "purelb.io/service-group";
    /// Exactly these addresses, joined by commas.
    pub const ADDRESSES: &str = "purelb.io/addresses";
    /// Key by which Services share an address.
    pub const ALLOW_SHARED_IP: &str = "purelb.io/allow-shared-ip";
    /// Accepted for upstream's users; a local address honours the traffic policy anyway.
    pub const ALLOW_LOCAL: &str = "purelb.io/allow-local";
    /// `true`: one address from each range of the group.
    pub const MULTI_POOL: &str = "purelb.io/multi-pool";
    /// `true`: judge the Service as if it were new, once.
    pub const RE_EVALUATE: &str = "purelb.io/re-evaluate";
    /// `service-endpoints`: prefer nodes with endpoints.
    pub const NODE_AFFINITY: &str = "purelb.io/node-affinity";
    /// Any new value moves the Service's local addresses once to their first choice.
    pub const REBALANCE: &str = "purelb.io/rebalance";

    /// Written by the allocator: [`ALLOCATED_BY_US`] marks a Service whose addresses are ours.
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
    /// Written by the agents: who announces the IPv4 addresses.
    pub const ANNOUNCING_IPV4: &str = "purelb.io/announcing-IPv4";
    /// Written by the agents: who announces the IPv6 addresses.
    pub const ANNOUNCING_IPV6: &str = "purelb.io/announcing-IPv6";

    /// Written by a new leader of the allocator to a Service that waits, so that a write that its
    /// predecessor still has under way is void; also before an address is given to a Service that has all
    /// it asks for, so that a new leader would know. The next write removes it.
    pub const LEADER_FENCE: &str = "purelb.io/leader-fence";

    /// The value of [`ALLOCATED_BY`].
    pub const ALLOCATED_BY_US: &str = "PureLB";

    /// Everything that we write, to be removed when a Service is no longer ours.
    pub const WRITTEN: [&str; 9] = [
        ALLOCATED_BY,
        ALLOCATED_FROM,
        ALLOCATED_ADDRESSES,
        ALLOCATED_TO,
        POOL_TYPE,
        SKIP_IPV6_DAD,
        ANNOUNCING_IPV4,
        ANNOUNCING_IPV6,
        LEADER_FENCE,
    ];
}

/// Types of conditions on Services.
pub mod condition {
    /// `True` while the Service shares an address with another that has not the same right to it; absent otherwise.
    pub const SHARING_CONFLICT: &str = "purelb.io/SharingConflict";
    /// `True` while the Service has an address that nobody announces; absent otherwise.
    pub const NOT_ANNOUNCED: &str = "purelb.io/NotAnnounced";
    /// `True` while somebody overwrites the Service's status or annotations faster than they are put back; absent
    /// otherwise.
    pub const OVERWRITTEN: &str = "purelb.io/Overwritten";
}

/// Load balancer classes that select us, the name of v1 and that of v2.
pub const CLASSES: [&str; 2] = ["purelb.io/purelb", "purelb.io/purelbv2"];

/// The value of the environment variable `DEFAULT_ANNOUNCER` by which Services without a class are ours.
pub const DEFAULT_ANNOUNCER: &str = "PureLB";

/// The namespace of our manifests.
pub const DEFAULT_NAMESPACE: &str = "purelb";

/// The ServiceGroup that serves whoever names none.
pub const DEFAULT_GROUP: &str = "default";

/// The dummy interface for remote addresses, unless an LBNodeAgent names another.
pub const DUMMY_INTERFACE: &str = "kube-lb0";

/// The Lease by which the allocator's replicas elect their leader.
pub const LEADER_LEASE: &str = "purelb-allocator";

/// The Secret that holds the key of the agents' gossip.
pub const GOSSIP_SECRET: &str = "purelb-gossip";

/// Services that are never ours, as (namespace, name).
pub const RESERVED_SERVICES: [(&str, &str); 4] = [
    ("default", "kubernetes"),
    ("kube-system", "kube-dns"),
    ("kube-system", "kube-controller-manager"),
    ("kube-system", "kube-scheduler"),
];

/// The label that takes a node out of all load balancing (Kubernetes well-known labels).
pub const EXCLUDE_NODE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Event reasons.
pub mod reason {
    /// Normal, Service: an address was allocated.
    pub const ADDRESS_ASSIGNED: &str = "AddressAssigned";
    /// Normal, Service: an address was given back.
    pub const ADDRESS_RELEASED: &str = "AddressReleased";
    /// Warning, Service: no address could be allocated.
    pub const ALLOCATION_FAILED: &str = "AllocationFailed";
    /// Warning, Service: an external IPAM did not take an address back.
    pub const RELEASE_FAILED: &str = "ReleaseFailed";
    /// Service: settings that contradict each other.
    pub const CONFIGURATION_WARNING: &str = "ConfigurationWarning";
    /// Normal, Service: a deprecated field is used.
    pub const DEPRECATION_WARNING: &str = "DeprecationWarning";
    /// Warning, Service: sharers of an address no longer agree.
    pub const SHARING_CONFLICT: &str = "SharingConflict";
    /// Warning, Service: an address was in use twice.
    pub const DUPLICATE_ADDRESS: &str = "DuplicateAddress";
    /// Normal, Service: only some of the wanted families could be served.
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
    /// Normal, ServiceGroup: accepted.
    pub const PARSED: &str = "Parsed";
    /// Warning, ServiceGroup: refused.
    pub const PARSE_FAILED: &str = "ParseFailed";
    /// Warning, ServiceGroup: it lies outside the install namespace.
    pub const OUT_OF_SCOPE: &str = "ServiceGroupOutOfScope";
    /// Normal, Service: this node answers for a local address.
    pub const ANNOUNCING_LOCAL: &str = "AnnouncingLocal";
    /// Normal, Service: this node has a remote address on its dummy interface.
    pub const ANNOUNCING_NON_LOCAL: &str = "AnnouncingNonLocal";
    /// Warning, Service: an address could not be announced.
    pub const ANNOUNCEMENT_FAILED: &str = "AnnouncementFailed";
    /// Warning, Service or Node: an address was removed by somebody else and has been put back.
    pub const ADDRESS_REPAIRED: &str = "AddressRepaired";
    /// Warning, Node: the dummy interface was deleted or replaced by somebody else.
    pub const INTERFACE_REPAIRED: &str = "InterfaceRepaired";
    /// Warning, Node: the dummy interface is not there and cannot be created.
    pub const INTERFACE_UNAVAILABLE: &str = "InterfaceUnavailable";
    /// Warning, Node: the selection of interfaces matches nothing here, or an interface cannot carry addresses.
    pub const INTERFACE_UNUSABLE: &str = "InterfaceUnusable";
    /// Warning, Node: the directory of the record of addresses cannot be written.
    pub const RECORD_UNWRITABLE: &str = "RecordUnwritable";
    /// Warning, Node: the Node's status lists an address that we announce.
    pub const NODE_ADDRESS: &str = "NodeAddress";
    /// Normal, Service: its traffic policy `Local` counts for a local address too.
    pub const LOCAL_OVERRIDE: &str = "LocalOverride";
    /// Normal, Service: another node's entry in the announcing annotation was replaced.
    pub const ANNOUNCE_SLOT_STEAL: &str = "AnnounceSlotSteal";
    /// Warning, Service: a foreign host uses a local address.
    pub const ADDRESS_CONFLICT: &str = "AddressConflict";
    /// Warning, Service: a node answered ARP for an address that it does not hold: kube-proxy's `strictARP`.
    pub const STRICT_ARP_NEEDED: &str = "StrictARPNeeded";
    /// Warning, Service: two agents claimed a local address, one has given it up.
    pub const ADDRESS_CONTESTED: &str = "AddressContested";
    /// Warning, Service: no node has endpoints of every Service that shares an address and wants local traffic.
    pub const NO_ELIGIBLE_NODES: &str = "NoEligibleNodes";
    /// Warning, Service: an address should move to another node, and none can take it.
    pub const NO_SUCCESSOR: &str = "NoSuccessor";
    /// Warning, Service: every node of the subnet is excluded from load balancers, so the label counts for nothing there.
    pub const EXCLUSION_IGNORED: &str = "ExclusionIgnored";
    /// Warning, Node: somebody on the node's network answers ARP for everything.
    pub const PROXY_ARP: &str = "ProxyARP";
    /// Warning, Node: no other agent answers.
    pub const GOSSIP_SILENT: &str = "GossipSilent";
    /// Warning, Node: the UDP port of the gossip is taken.
    pub const GOSSIP_PORT_UNAVAILABLE: &str = "GossipPortUnavailable";
    /// Warning, Node: another agent uses another gossip key.
    pub const GOSSIP_KEY_MISMATCH: &str = "GossipKeyMismatch";
    /// Warning, Node: nobody answers on an interface for local addresses, so nothing is claimed there.
    pub const LINK_DEAF: &str = "LinkDeaf";
    /// Warning, LBNodeAgent: its node selector cannot be evaluated.
    pub const INVALID_NODE_SELECTOR: &str = "InvalidNodeSelector";
    /// Warning, LBNodeAgent: it selects this node, but another one is used.
    pub const CONFIG_IGNORED: &str = "ConfigIgnored";
    /// Warning, LBNodeAgent: its configuration is refused.
    pub const CONFIG_ERROR: &str = "ConfigError";
}
