//! `/state`: what this node announces, what not, and why, for the plugin and for people.

use std::net::IpAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::agent::StateRequest;
use crate::desired::Kind;

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
    /// The live members, this node included.
    pub members: Vec<String>,
    /// Whether this node's picture of the members is current.
    pub current: bool,
    /// Every address.
    pub addresses: Vec<Address>,
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
    /// What the kernel said, if it refused.
    pub error: Option<String>,
    /// Since when this is so.
    pub since: Timestamp,
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
