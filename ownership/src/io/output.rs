//! Where one call of the machine collects what it does.
//!
//! Actions keep their order. Frames wait until all other actions of the call are known and leave after them: what a
//! datagram says is then true.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::io::action::{Action, ProbeKind};
use crate::io::notification::Notification;
use crate::model::link::LinkId;
use crate::model::node::Mac;
use crate::wire::Frame;

/// The actions of a call, and the frames to be sent after them.
#[derive(Debug, Default)]
pub struct Output {
    actions: Vec<Action>,
    frames: BTreeMap<SocketAddr, Vec<Frame>>,
}

impl Output {
    /// Adds an action.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Reports something to people.
    pub fn report(&mut self, notification: Notification) {
        self.actions.push(Action::Notify(notification));
    }

    /// Asks on a link whether an own address of another host is there; unicast if its MAC is known, because a switch
    /// that answers from its ARP cache does not see unicast.
    pub fn reach(&mut self, link: LinkId, target: IpAddr, to: Option<Mac>) {
        self.actions.push(Action::Probe { link, target, to, kind: ProbeKind::Reach });
    }

    /// Sends a frame to an endpoint; none is sent if there is no endpoint.
    pub fn send(&mut self, to: Option<SocketAddr>, frame: Frame) {
        if let Some(to) = to {
            self.frames.entry(to).or_default().push(frame);
        }
    }

    /// Takes the frames, by endpoint.
    pub fn take_frames(&mut self) -> BTreeMap<SocketAddr, Vec<Frame>> {
        std::mem::take(&mut self.frames)
    }

    /// Takes the actions.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}
