//! Whether an address is announced, from what is known of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::Announce;
use ipnetwork::IpNetwork;

/// The agent of a node, as its Lease shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// It renews its Lease.
    Running,
    /// It renews its Lease and announces nothing, because no LBNodeAgent selects the node.
    Deselected,
    /// It renews its Lease and announces nothing, because the LBNodeAgent that selects the node is not valid.
    Invalid,
    /// It has no Lease, or one that has run out.
    NotRunning,
}

/// Where a node is, seen from the subnet of the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the subnet.
    Inside,
    /// One of the Node's addresses is in the subnet, but its agent has selected no interface there.
    NotSelected,
    /// Not in the subnet.
    Outside,
}

/// What is known of a node.
#[derive(Debug, Clone, Copy)]
pub struct NodeFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its agent.
    pub agent: AgentState,
    /// Where it is.
    pub place: Place,
    /// Whether it has the label that excludes it from load balancers.
    pub excluded: bool,
    /// Whether the traffic policies let it announce the address: it has an endpoint, or needs none.
    pub endpoint: bool,
    /// Why its agent refuses the address, if it does.
    pub refusal: Option<&'a str>,
}

/// The node that a Service names as the one that announces the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcer {
    /// There is none.
    Nobody,
    /// Its agent runs, or its kernel has the address as the agents report.
    Alive,
    /// Its agent does not run. Its kernel may answer until the address expires there.
    Silent,
}

/// What is known of an address beside the nodes.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The address.
    pub address: IpAddr,
    /// How it is announced.
    pub announce: Announce,
    /// The subnet of its range, if it lies in one.
    pub subnet: Option<IpNetwork>,
    /// Who announces it, as far as anybody notes that.
    pub announcer: Announcer,
    /// Whether a traffic policy is `Local`.
    pub local_policy: bool,
    /// Whether it is known which nodes have endpoints; `true` if none are needed.
    pub endpoints_known: bool,
    /// The subnets of all agents that run.
    pub subnets: &'a BTreeSet<IpNetwork>,
}

/// Why a node cannot announce an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// No agent runs there.
    NotRunning,
    /// No LBNodeAgent selects it.
    Deselected,
    /// The LBNodeAgent that selects it is not valid.
    Invalid,
    /// Its agent has selected no interface in the subnet.
    NoInterface,
    /// It is not in the subnet.
    Outside,
    /// A label excludes it.
    Excluded,
    /// It has no endpoint of a Service with the traffic policy `Local`.
    NoEndpoint,
    /// Its agent refuses the address.
    Refused(String),
}

/// Why nobody announces an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// No node is in the subnet.
    NoNodeInSubnet,
    /// The traffic policy is `Local`, and there is no endpoint.
    NoEndpoint,
    /// The traffic policy is `Local`, and all nodes with endpoints are prevented.
    EndpointsElsewhere(BTreeMap<Obstacle, Vec<String>>),
    /// All nodes that could announce it otherwise are prevented.
    Prevented(BTreeMap<Obstacle, Vec<String>>),
    /// These nodes could announce it, and none of them has noted that it does.
    Unconfirmed(Vec<String>),
}

/// An address that nobody announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The address.
    pub address: IpAddr,
    /// The subnet of its range.
    pub subnet: Option<IpNetwork>,
    /// The subnets of all agents that run.
    pub subnets: Vec<IpNetwork>,
    /// Why.
    pub cause: Cause,
    /// The kernel of a node whose agent does not run may still answer.
    pub may_linger: bool,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// It is announced.
    Announced,
    /// Not known.
    Unknown,
    /// Nobody announces it.
    Nobody(Box<Finding>),
}

/// Decides whether an address is announced. `nodes` are all nodes.
pub fn decide<'a>(question: &Question<'_>, nodes: impl Iterator<Item = NodeFacts<'a>> + Clone) -> Announcement {
    if question.announcer == Announcer::Alive {
        return Announcement::Announced;
    }
    // Where the group decides for each node, those in the subnet answer there, and all others have it for routers.
    let local = |node: &NodeFacts<'_>| question.announce == Announce::Local || node.place == Place::Inside;
    // The label counts only as long as another node without it can answer in the same way.
    let others = |at_link: bool| {
        let mut peers = nodes.clone().filter(|node| node.agent == AgentState::Running && local(node) == at_link);
        peers.any(|peer| !peer.excluded && (!at_link || peer.place == Place::Inside))
    };
    let (counts_remote, counts_local) = (others(false), others(true));
    let obstacle = |node: &NodeFacts<'_>| {
        let at_link = local(node);
        let label_counts = if at_link { counts_local } else { counts_remote };
        obstacle(node, at_link, label_counts)
    };
    let able = nodes.clone().filter(|node| obstacle(node).is_none());
    // Routed addresses are noted nowhere: whoever can announce them does.
    if able.clone().any(|node| !local(&node)) {
        return if question.endpoints_known { Announcement::Announced } else { Announcement::Unknown };
    }
    let able: Vec<String> = able.map(|node| node.name.to_owned()).collect();
    if !able.is_empty() {
        if !question.endpoints_known {
            return Announcement::Unknown;
        }
        return nobody(question, Cause::Unconfirmed(able));
    }
    nobody(question, cause(question, nodes, obstacle))
}

fn nobody(question: &Question<'_>, cause: Cause) -> Announcement {
    Announcement::Nobody(Box::new(Finding {
        address: question.address,
        subnet: question.subnet,
        subnets: question.subnets.iter().copied().collect(),
        cause,
        may_linger: question.announcer == Announcer::Silent,
    }))
}

fn obstacle(node: &NodeFacts<'_>, at_link: bool, label_counts: bool) -> Option<Obstacle> {
    if at_link && node.place == Place::Outside {
        return Some(Obstacle::Outside);
    }
    match node.agent {
        AgentState::NotRunning => return Some(Obstacle::NotRunning),
        AgentState::Deselected => return Some(Obstacle::Deselected),
        AgentState::Invalid => return Some(Obstacle::Invalid),
        AgentState::Running => {}
    }
    if at_link && node.place == Place::NotSelected {
        return Some(Obstacle::NoInterface);
    }
    if node.excluded && label_counts {
        return Some(Obstacle::Excluded);
    }
    if !node.endpoint {
        return Some(Obstacle::NoEndpoint);
    }
    node.refusal.map(|why| Obstacle::Refused(why.to_owned()))
}

/// Why nobody can announce the address, if every node has an obstacle.
fn cause<'a>(
    question: &Question<'_>,
    nodes: impl Iterator<Item = NodeFacts<'a>> + Clone,
    obstacle: impl Fn(&NodeFacts<'_>) -> Option<Obstacle>,
) -> Cause {
    let is_near = |node: &NodeFacts<'_>| node.place != Place::Outside;
    if question.announce == Announce::Local && !nodes.clone().any(|node| is_near(&node)) {
        return Cause::NoNodeInSubnet;
    }
    let needs_endpoints = question.local_policy && question.endpoints_known;
    if needs_endpoints && !nodes.clone().any(|node| node.endpoint) {
        return Cause::NoEndpoint;
    }
    let concerned = nodes.filter(|node| {
        if needs_endpoints { node.endpoint } else { question.announce != Announce::Local || is_near(node) }
    });
    let mut obstacles: BTreeMap<Obstacle, Vec<String>> = BTreeMap::new();
    for node in concerned {
        if let Some(obstacle) = obstacle(&node) {
            obstacles.entry(obstacle).or_default().push(node.name.to_owned());
        }
    }
    if needs_endpoints { Cause::EndpointsElsewhere(obstacles) } else { Cause::Prevented(obstacles) }
}

impl Finding {
    /// Whether what is known explains it. Otherwise the agents may just not have noted yet that they announce it.
    #[must_use]
    pub const fn is_explained(&self) -> bool {
        !matches!(self.cause, Cause::Unconfirmed(_))
    }

    /// The reason of the condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match &self.cause {
            Cause::NoNodeInSubnet => "NoNodeInSubnet",
            Cause::NoEndpoint => "NoEndpoint",
            Cause::EndpointsElsewhere(_) => "EndpointsElsewhere",
            Cause::Unconfirmed(_) => "Unconfirmed",
            Cause::Prevented(obstacles) => {
                let mut reasons: BTreeSet<&'static str> = obstacles.keys().map(Obstacle::reason).collect();
                match reasons.pop_first() {
                    Some(reason) if reasons.is_empty() => reason,
                    Some(_) => "NoNodeCan",
                    None => "AgentsNotRunning",
                }
            }
        }
    }
}

impl Obstacle {
    const fn reason(&self) -> &'static str {
        match self {
            Self::NotRunning => "AgentsNotRunning",
            Self::Deselected => "NodesNotSelected",
            Self::Invalid => "InvalidConfiguration",
            Self::NoInterface => "NoInterfaceSelected",
            Self::Outside => "NoNodeInSubnet",
            Self::Excluded => "NodesExcluded",
            Self::NoEndpoint => "NoEndpoint",
            Self::Refused(_) => "Refused",
        }
    }
}
