//! `/state`: what this node announces, what not, and why, for the plugin and for people.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use ownership::Liveness;
use ownership::machine::{AddressStatus, MemberStatus};
use ownership::wire::{BROKEN, EXCLUDED, LEAVING, SELECTED, STALE};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::agent::StateRequest;
use crate::desired::Kind;
use crate::local::Picture;

/// Everything about this node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The node.
    pub node: String,
    /// When this was said.
    pub time: Timestamp,
    /// `default`, `configured`, `deselected` or `invalid`.
    pub config: &'static str,
    /// What is still missing before anything is decided.
    pub missing: Option<&'static str>,
    /// Where remote addresses go.
    pub dummy_interface: Option<String>,
    /// The subnets on which this node can answer.
    pub subnets: Vec<String>,
    /// The other members.
    pub members: Vec<Member>,
    /// There are others, and none answers: Leases tell who lives.
    pub gossip_silent: bool,
    /// Whether this node's picture of the cluster's objects is current.
    pub current: bool,
    /// Every address.
    pub addresses: Vec<Address>,
}

impl Report {
    /// Adds what the protocol for local addresses knows.
    pub fn complete(&mut self, picture: Picture) {
        self.members = picture.snapshot.members.iter().map(Member::new).collect();
        let mut known: BTreeMap<IpAddr, AddressStatus> =
            picture.addresses.into_iter().map(|address| (address.address, address)).collect();
        for address in &mut self.addresses {
            address.ownership = known.remove(&address.ip).as_ref().map(Ownership::new);
        }
    }
}

/// One address.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
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
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub why: String,
    /// What the kernel said when it refused last; nothing as soon as it accepts.
    pub error: Option<String>,
    /// Since when this is so.
    pub since: Timestamp,
    /// Of a local address that this node takes part in: what the protocol between the agents says.
    pub ownership: Option<Ownership>,
}

/// Another member.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
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

impl Member {
    /// As the protocol knows it.
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
pub struct Ownership {
    /// Who answers for it.
    pub owner: Option<String>,
    /// The number of the claim: grows whenever somebody takes the address.
    pub epoch: u64,
    /// Who would take it over.
    pub heir: Option<String>,
    /// What this node does about it.
    pub doing: &'static str,
    /// The last thing that happened to it here.
    pub last: &'static str,
}

impl Ownership {
    /// As the protocol knows it.
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

/// How long the agent may take: it answers between two passes.
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
