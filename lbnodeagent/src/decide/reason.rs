//! The reasons of decisions.

use std::fmt;

/// Why an address is placed here or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// This node answers for it.
    Owner,
    /// Every node has it.
    Remote,
    /// Every node has it, and it lies in a network of one of this node's interfaces; the sentence says of which.
    RemoteInside(String),
    /// Another node answers for it, or none does now.
    NotOwner,
    /// The traffic policy is `Local`, and no node has endpoints of every Service that uses it.
    NoEligibleNodes,
    /// The node is excluded from load balancers.
    Excluded,
    /// kube-proxy does not serve this node, and it does others.
    ProxyFailed,
    /// It is local, and no interface here is in its subnet.
    NoLocalInterface,
    /// The traffic policy is `Local`, and there is no endpoint here.
    NoEndpoints,
    /// It is not known yet where the endpoints are, whether the node is excluded, or whether kube-proxy serves it.
    Undecided,
    /// This node announces nothing, because of its configuration.
    NoConfig(&'static str),
    /// No Service uses it any more.
    NotWanted,
    /// A Service's status has it, and neither did the allocator give it nor does a member announce it.
    NotGiven,
    /// It must not be put here; the sentence says why.
    Refused(String),
}

impl Reason {
    /// The word that tools match on (specification, announcing.md 14).
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Owner => "electionWon",
            Self::Remote | Self::RemoteInside(_) => "announcingNonLocal",
            Self::NotOwner => "lostElection",
            Self::NoEligibleNodes => "noEligibleNodes",
            Self::Excluded => "excluded",
            Self::ProxyFailed => "proxyFailed",
            Self::NoLocalInterface => "noLocalInterface",
            Self::NoEndpoints => "noEndpoints",
            Self::Undecided => "undecided",
            Self::NoConfig(_) => "noConfig",
            Self::NotWanted => "notWanted",
            Self::NotGiven => "notGiven",
            Self::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("this node answers for the address"),
            Self::Remote => f.write_str("every node has the address for its routing software to advertise"),
            Self::NotOwner => f.write_str("another node answers for the address"),
            Self::NoEligibleNodes => f.write_str(
                "externalTrafficPolicy is Local and no node has an endpoint of every Service that uses the address",
            ),
            Self::Excluded => {
                f.write_str("the label node.kubernetes.io/exclude-from-external-load-balancers excludes this node")
            }
            Self::ProxyFailed => f.write_str("kube-proxy does not serve this node"),
            Self::NoLocalInterface => f.write_str("no selected interface of this node is in the subnet of the address"),
            Self::NoEndpoints => f.write_str("externalTrafficPolicy is Local and this node has no ready endpoint"),
            Self::Undecided => f.write_str("not known yet whether the address belongs here"),
            Self::NoConfig(state) => write!(f, "this node announces nothing: its configuration is {state}"),
            Self::NotWanted => f.write_str("no Service uses the address"),
            Self::NotGiven => f.write_str(
                "the allocator did not give the address to the Service whose status has it, and no node announces it",
            ),
            Self::Refused(why) | Self::RemoteInside(why) => f.write_str(why),
        }
    }
}
