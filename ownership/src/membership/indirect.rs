//! Pings on behalf of others: a member that does not hear another one asks this node whether it does.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::node::NodeId;
use crate::model::time::{Time, ms};
use crate::wire::Frame;

/// An answer is reported for so long after the request.
const PATIENCE: Duration = ms(300);
/// The most requests at a time.
const MAX_OPEN: usize = 256;

#[derive(Debug)]
struct Request {
    asker: NodeId,
    id: u32,
    target: NodeId,
    /// The target's own address that is asked for on the link.
    reach: Option<IpAddr>,
    until: Time,
}

/// The requests that no answer has come to.
#[derive(Debug, Default)]
pub struct IndirectPings(Vec<Request>);

impl IndirectPings {
    /// Notes a request; returns whether there was room for it.
    pub fn add(&mut self, asker: &NodeId, id: u32, target: &NodeId, reach: Option<IpAddr>, now: Time) -> bool {
        let room = self.0.len() < MAX_OPEN;
        if room {
            let (asker, target) = (asker.clone(), target.clone());
            self.0.push(Request { asker, id, target, reach, until: now + PATIENCE });
        }
        room
    }

    /// A member answered a ping, or on the link for this address: who is to be told, and by which frame.
    pub fn answered(&mut self, node: &NodeId, reach: Option<IpAddr>, now: Time) -> Vec<(NodeId, Frame)> {
        let mut answers = Vec::new();
        self.0.retain(|request| {
            if request.target == *node && (reach.is_none() || request.reach == reach) {
                let ack = Frame::IndirectAck { id: request.id, target: node.clone(), link: reach.is_some() };
                answers.push((request.asker.clone(), ack));
                // After an answer to the ping, one on the link may still come.
                return reach.is_none() && request.reach.is_some() && request.until > now;
            }
            request.until > now
        });
        answers
    }
}
