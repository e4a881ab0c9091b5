//! The page `/state`: what this node announces, what it does not, and why. The kubectl plugin and people read it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use ownership::machine::{AddressStatus, MemberStatus};
use ownership::wire::{BROKEN, EXCLUDED, LEAVING, SELECTED, STALE};
use ownership::{Liveness, Snapshot};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::status::Status;
use crate::bfd::view::PeerEntry;
use crate::model::observed::Observed;
use crate::model::placement::Kind;

/// A query for `/state`, with the channel for its answer.
pub type StateRequest = oneshot::Sender<NodeState>;

/// What the protocol for local addresses knows.
#[derive(Debug)]
pub struct ProtocolState {
    /// The members.
    pub snapshot: Snapshot,
    /// The addresses for which this node is a candidate.
    pub addresses: Vec<AddressStatus>,
}

/// Everything about this node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// The node.
    pub node: String,
    /// The time of this answer.
    pub time: Timestamp,
    /// `default`, `configured`, `deselected` or `invalid`.
    pub config: &'static str,
    /// What is still missing before anything is decided.
    pub missing: Option<&'static str>,
    /// The interface for remote addresses.
    pub dummy_interface: Option<String>,
    /// The subnets on which this node can answer.
    pub subnets: Vec<String>,
    /// The other members.
    pub members: Vec<MemberEntry>,
    /// There are other members and none answers, so that Leases show who lives.
    pub gossip_silent: bool,
    /// Whether what this node knows of the cluster's objects is current.
    pub current: bool,
    /// Every address.
    pub addresses: Vec<AddressEntry>,
    /// The VIP guard.
    pub guard: GuardEntry,
    /// The routers that may follow this node by BFD.
    pub bfd: Vec<PeerEntry>,
    /// What is wrong with what Calico passes on to routers from this node, and what mends it; nothing if nothing is.
    pub calico_exports: Option<String>,
}

impl NodeState {
    /// Adds what the protocol for local addresses knows.
    pub fn complete(&mut self, protocol: ProtocolState) {
        self.members = protocol.snapshot.members.iter().map(MemberEntry::new).collect();
        let mut known: BTreeMap<IpAddr, AddressStatus> =
            protocol.addresses.into_iter().map(|address| (address.address, address)).collect();
        for address in &mut self.addresses {
            address.ownership = known.remove(&address.ip).as_ref().map(OwnershipEntry::new);
        }
    }
}

/// The VIP guard, and what it follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GuardEntry {
    /// How many addresses let in nothing but the ports of their Services.
    pub addresses: usize,
    /// `unknown`, `gone`, or the mode of the kube-proxy that is here.
    pub kube_proxy: &'static str,
    /// Whether another program has removed kube-proxy's rules.
    pub proxy_rules_gone: bool,
}

/// One address.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressEntry {
    /// The address.
    pub ip: IpAddr,
    /// The Services that use it, as `namespace/name`.
    pub services: Vec<String>,
    /// Whether the kernel of this node has it because of us.
    pub announced: bool,
    /// `local` or `remote`, if it belongs here.
    pub kind: Option<Kind>,
    /// The interface, if it belongs here.
    pub interface: Option<String>,
    /// The prefix length, if it belongs here.
    pub prefix_length: Option<u8>,
    /// The reason in one word.
    pub reason: &'static str,
    /// The reason as a sentence.
    pub why: String,
    /// The kernel's last refusal, until it accepts.
    pub error: Option<String>,
    /// Since when the decision stands.
    pub since: Timestamp,
    /// What the protocol knows of a local address for which this node is a candidate.
    pub ownership: Option<OwnershipEntry>,
}

impl AddressEntry {
    /// As this node knows it, without what the protocol knows.
    #[must_use]
    pub fn new(ip: IpAddr, status: &Status, services: Vec<String>, observed: &Observed) -> Self {
        let placement = status.placed.or(status.decision.placement);
        Self {
            ip,
            services,
            announced: status.placed.is_some(),
            kind: placement.map(|placement| placement.kind),
            interface: placement.map(|placement| observed.name_of(placement.key.index).to_owned()),
            prefix_length: placement.map(|placement| placement.key.prefix_len),
            reason: status.decision.reason.word(),
            why: status.decision.reason.to_string(),
            error: status.failure.map(|failure| failure.errno.to_string()),
            since: status.since,
            ownership: None,
        }
    }
}

/// Another member.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberEntry {
    /// Its node.
    pub node: String,
    /// `alive`, `suspect` or `silent`.
    pub state: &'static str,
    /// Milliseconds since it last answered; nothing if it never did.
    pub answered_millis: Option<u64>,
    /// How many local addresses it answers for.
    pub claims: usize,
    /// What keeps it from answering for more: `excluded`, `deselected`, `stale`, `leaving`, `linkBroken`.
    pub limits: Vec<&'static str>,
}

impl MemberEntry {
    /// From what the protocol knows.
    #[must_use]
    pub fn new(member: &MemberStatus) -> Self {
        let limits = [
            (member.flags & EXCLUDED != 0, "excluded"),
            (member.flags & SELECTED == 0, "deselected"),
            (member.flags & STALE != 0, "stale"),
            (member.flags & LEAVING != 0, "leaving"),
            (member.flags & BROKEN != 0, "linkBroken"),
        ];
        let state = match member.liveness {
            Liveness::Alive => "alive",
            Liveness::Suspect => "suspect",
            Liveness::Silent => "silent",
        };
        Self {
            node: member.node.to_string(),
            state,
            answered_millis: member.answered.map(|answered| u64::try_from(answered.as_millis()).unwrap_or(u64::MAX)),
            claims: member.claims,
            limits: limits.into_iter().filter(|(limited, _)| *limited).map(|(_, word)| word).collect(),
        }
    }
}

/// Who answers for a local address, as this node knows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnershipEntry {
    /// The owner.
    pub owner: Option<String>,
    /// The epoch of the claim, which grows with each claim.
    pub epoch: u64,
    /// The next candidate.
    pub heir: Option<String>,
    /// What this node does about the address.
    pub doing: &'static str,
    /// The last thing that happened to the address on this node.
    pub last: &'static str,
}

impl OwnershipEntry {
    /// From what the protocol knows.
    #[must_use]
    pub fn new(address: &AddressStatus) -> Self {
        Self {
            owner: address.owner.as_ref().map(ToString::to_string),
            epoch: address.epoch,
            heir: address.heir.as_ref().map(ToString::to_string),
            doing: address.doing,
            last: address.last,
        }
    }
}

/// How long the agent may take. It answers between two passes.
const DEADLINE: Duration = Duration::from_secs(5);

/// The path `/state`.
pub fn router(requests: mpsc::Sender<StateRequest>) -> Router {
    Router::new().route("/state", get(answer)).with_state(requests)
}

async fn answer(State(requests): State<mpsc::Sender<StateRequest>>) -> Response {
    let (sender, receiver) = oneshot::channel();
    let asked = async {
        requests.send(sender).await.ok()?;
        receiver.await.ok()
    };
    match tokio::time::timeout(DEADLINE, asked).await {
        Ok(Some(report)) => Json(report).into_response(),
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy\n").into_response(),
    }
}
