//! The sessions of one node with all others.

use crate::model::node::{BootId, NodeId};
use crate::model::time::Time;
use crate::session::challenge::Challenges;
use crate::session::envelope::{Opened, Opener, Sealer};
use crate::session::keys::Keys;
use crate::session::refusal::Refusal;
use crate::wire::{Frame, Status, decode};

/// An authentic datagram whose body is understood.
#[derive(Debug)]
pub struct Received {
    /// Who sent it.
    pub node: NodeId,
    /// Which boot.
    pub boot: BootId,
    /// Its number among the datagrams of that boot.
    pub sequence: u64,
    /// Whether the boot has answered a challenge. If not, only [`Session::greet`] may read the frames.
    pub known: bool,
    /// What it says of its sender.
    pub status: Status,
    /// What else it says.
    pub frames: Vec<Frame>,
}

/// The sessions of this boot of this node.
#[derive(Debug)]
pub struct Session {
    sealer: Sealer,
    opener: Opener,
    challenges: Challenges,
}

impl Session {
    /// Knows no other node yet.
    #[must_use]
    pub fn new(node: NodeId, boot: BootId, keys: Keys) -> Self {
        let secret = keys.current.own_secret(&node, boot);
        Self {
            sealer: Sealer::new(node.clone(), boot, &keys),
            opener: Opener::new(node, keys),
            challenges: Challenges::new(secret.as_ref()),
        }
    }

    /// Uses other keys from now on.
    pub fn rekey(&mut self, keys: Keys) {
        self.sealer.rekey(&keys);
        self.opener.rekey(keys);
    }

    /// A datagram with this body; nothing after 2^64 of them.
    pub fn seal(&mut self, body: Vec<u8>) -> Option<Vec<u8>> {
        self.sealer.seal(body)
    }

    /// Opens a datagram and reads its body, or counts why not.
    ///
    /// # Errors
    /// The reason why the datagram is to be dropped.
    pub fn receive(&mut self, datagram: &[u8]) -> Result<Received, Refusal> {
        let opened = self.opener.open(datagram)?;
        let Ok((status, frames)) = decode(&opened.body) else {
            self.opener.count(Refusal::Malformed);
            return Err(Refusal::Malformed);
        };
        let Opened { node, boot, sequence, known, .. } = opened;
        Ok(Received { node, boot, sequence, known, status, frames })
    }

    /// Exchanges challenges with a boot that is not known: what to reply, and whether the boot has proved itself by
    /// this datagram, so that it is known from now on.
    pub fn greet(&mut self, received: &Received, now: Time) -> (Vec<Frame>, bool) {
        let Received { node, boot, sequence, frames, .. } = received;
        let challenges = frames.iter().filter_map(|frame| match frame {
            Frame::Challenge(number) => Some(Frame::Response(*number)),
            _ => None,
        });
        let mut replies: Vec<_> = challenges.collect();
        let responses = frames.iter().filter_map(|frame| match frame {
            Frame::Response(number) => Some(*number),
            _ => None,
        });
        let known = self.opener.boot(node);
        let proven = self.challenges.is_met(node, *boot, known, responses, now);
        if proven {
            self.opener.trust(node, *boot, *sequence);
        } else {
            replies.push(Frame::Challenge(self.challenges.challenge(node, *boot, known, now)));
        }
        (replies, proven)
    }

    /// Datagrams refused, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> {
        self.opener.refused.iter().map(|(refusal, count)| (*refusal, *count))
    }
}
