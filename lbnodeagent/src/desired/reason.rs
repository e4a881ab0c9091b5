//! Why an address is where it is.

use std::fmt;

/// Why an address is placed here, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// This node answers for it.
    Owner,
    /// Every node has it.
    Remote,
    /// Another node answers for it.
    OtherOwner(String),
    /// Its subnet has no live member.
    NoEligibleNodes,
    /// It is local, and no interface here is in its subnet.
    NoLocalInterface,
    /// The traffic policy is `Local`, and there is no endpoint here.
    NoEndpoints,
    /// It is not known yet who answers.
    Undecided,
    /// This node announces nothing, because of its configuration.
    NoConfig(&'static str),
    /// No Service uses it any more.
    NotWanted,
    /// It must not be put here; the sentence says why.
    Refused(String),
}

impl Reason {
    /// The word that tools look for (specification, announcing.md 14).
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Owner => "electionWon",
            Self::Remote => "announcingNonLocal",
            Self::OtherOwner(_) => "lostElection",
            Self::NoEligibleNodes => "noEligibleNodes",
            Self::NoLocalInterface => "noLocalInterface",
            Self::NoEndpoints => "noEndpoints",
            Self::Undecided => "undecided",
            Self::NoConfig(_) => "noConfig",
            Self::NotWanted => "notWanted",
            Self::Refused(_) => "refused",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("this node answers for the address"),
            Self::Remote => f.write_str("every node has the address for its routing software to advertise"),
            Self::OtherOwner(node) => write!(f, "node {node} answers for the address"),
            Self::NoEligibleNodes => f.write_str("no live node is in the subnet of the address"),
            Self::NoLocalInterface => f.write_str("no selected interface of this node is in the subnet of the address"),
            Self::NoEndpoints => f.write_str("externalTrafficPolicy is Local and this node has no ready endpoint"),
            Self::Undecided => f.write_str("not known yet which node answers for the address"),
            Self::NoConfig(state) => write!(f, "this node announces nothing: its configuration is {state}"),
            Self::NotWanted => f.write_str("no Service uses the address"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}
