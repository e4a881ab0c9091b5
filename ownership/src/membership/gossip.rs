//! What a part of the machine needs to talk to members.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::io::Output;
use crate::membership::members::Membership;
use crate::membership::ping::ping_number;
use crate::model::node::NodeId;
use crate::model::rng::Rng;
use crate::model::time::{Time, ms};
use crate::wire::Frame;

/// A member that has not answered for so long is tried at its next endpoint.
const NEXT_ENDPOINT: Duration = ms(250);

/// Time, members, randomness, and where to put what is sent: borrowed from the machine for one call.
#[derive(Debug)]
pub struct Gossip<'a> {
    /// Now.
    pub now: Time,
    /// How late this node's own steps are: it waits longer for answers by as much.
    pub late: Duration,
    /// The members.
    pub members: &'a mut Membership,
    /// Randomness.
    pub rng: &'a mut Rng,
    /// What the call does.
    pub out: &'a mut Output,
}

impl Gossip<'_> {
    /// This node.
    #[must_use]
    pub fn own(&self) -> &NodeId {
        self.members.own()
    }

    /// Sends a frame to a member, where it was last found.
    pub fn send(&mut self, node: &NodeId, frame: Frame) {
        self.out.send(self.members.endpoint(node), frame);
    }

    /// Answers a datagram.
    pub fn reply(&mut self, to: SocketAddr, frame: Frame) {
        self.out.send(Some(to), frame);
    }

    /// Pings a member; if it does not answer where it was, elsewhere next time.
    pub fn ping(&mut self, node: &NodeId) {
        if let Some(member) = self.members.get_mut(node)
            && !self.now.is_within(member.ack, NEXT_ENDPOINT)
        {
            member.endpoint = member.endpoint.wrapping_add(1);
        }
        self.ping_once(node);
    }

    /// Pings a member where it was last found.
    pub fn ping_once(&mut self, node: &NodeId) {
        self.send(node, Frame::Ping(ping_number(self.now)));
    }

    /// Asks some members to ping a member, and to ask the link for an own address of it.
    pub fn ask_helpers(&mut self, target: &NodeId, reach: Option<IpAddr>) {
        for helper in self.members.helpers(target, self.rng) {
            self.ask_to_ping(&helper, target, reach);
        }
    }

    /// Asks a member to ping another one, and to ask the link for an own address of it.
    pub fn ask_to_ping(&mut self, helper: &NodeId, target: &NodeId, reach: Option<IpAddr>) {
        let id = ping_number(self.now);
        self.send(helper, Frame::PingRequest { id, target: target.clone(), reach });
    }
}
