//! Challenges: a boot that was not heard before proves that its datagrams are not recordings.
//!
//! The node asks the boot to send a number back. A recording does not contain the number, so only a living agent with a
//! gossip key can answer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::node::{BootId, NodeId};
use crate::model::rng::Rng;
use crate::model::time::{Time, ms};

/// Between two challenges to the same node.
const INTERVAL: Duration = ms(20);
/// A challenge is repeated with the same number for so long.
const REPEAT: Duration = ms(300);
/// A response must come within so long after the last challenge.
const PATIENCE: Duration = ms(1200);
/// The most nodes that are challenged at a time.
const MAX_OPEN: usize = 5000;

#[derive(Debug, Clone, Copy)]
struct Challenge {
    boot: BootId,
    nonce: u64,
    sent: Time,
}

/// The challenges that no response has come to.
#[derive(Debug, Default)]
pub(super) struct Challenges(BTreeMap<NodeId, Challenge>);

impl Challenges {
    /// Whether one of these numbers is the response that was asked for.
    pub fn is_met(&self, node: &NodeId, boot: BootId, mut nonces: impl Iterator<Item = u64>, now: Time) -> bool {
        self.0.get(node).is_some_and(|open| {
            open.boot == boot && now.is_within(Some(open.sent), PATIENCE) && nonces.any(|nonce| nonce == open.nonce)
        })
    }

    /// Forgets the challenge to a node.
    pub fn close(&mut self, node: &NodeId) {
        self.0.remove(node);
    }

    /// The number to challenge a boot with; nothing if it was challenged a moment ago, or too many others are.
    pub fn challenge(&mut self, node: &NodeId, boot: BootId, now: Time, rng: &mut Rng) -> Option<u64> {
        let open = self.0.get(node).copied();
        let same = open.filter(|open| open.boot == boot);
        if same.is_some_and(|open| now.is_within(Some(open.sent), INTERVAL)) {
            return None;
        }
        let nonce = match same {
            Some(open) if now.is_within(Some(open.sent), REPEAT) => open.nonce,
            _ => rng.next(),
        };
        if self.0.len() >= MAX_OPEN && open.is_none() {
            return None;
        }
        self.0.insert(node.clone(), Challenge { boot, nonce, sent: now });
        Some(nonce)
    }
}
