//! Challenges: a boot that was not heard before proves that its datagrams are not recordings.
//!
//! The node asks the boot to send a number back. A recording does not contain the number, so only a living agent with a
//! gossip key can answer.
//!
//! Nothing is remembered of those that are challenged, so that nobody can use that up or overwrite it. The number is
//! computed anew from a secret of this boot, the boot that is challenged, and the time. The boot that the node proved
//! before is part of it too: the response of a former boot is worth nothing once another one is known.

use std::time::Duration;

use ring::hmac;

use crate::model::node::{BootId, NodeId};
use crate::model::time::{Time, ms};

/// A number is asked for so long, and accepted for as long again.
const SLOT: Duration = ms(1000);

/// Makes the numbers.
#[derive(Debug)]
pub(super) struct Challenges(hmac::Key);

impl Challenges {
    /// The secret has to be another one for each boot of each node.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The number to challenge a boot with.
    pub fn challenge(&self, node: &NodeId, boot: BootId, proven: Option<BootId>, now: Time) -> u64 {
        self.number(node, boot, proven, slot(now))
    }

    /// Whether one of these numbers is the response that was asked for.
    pub fn is_met(
        &self,
        node: &NodeId,
        boot: BootId,
        proven: Option<BootId>,
        mut numbers: impl Iterator<Item = u64>,
        now: Time,
    ) -> bool {
        let (last, before) = (slot(now), slot(now).checked_sub(1));
        numbers.any(|number| {
            let asked = |slot| self.number(node, boot, proven, slot) == number;
            asked(last) || before.is_some_and(asked)
        })
    }

    fn number(&self, node: &NodeId, boot: BootId, proven: Option<BootId>, slot: u128) -> u64 {
        let mut context = hmac::Context::with_key(&self.0);
        for number in [boot.0, proven.map_or(0, |proven| proven.0), slot] {
            context.update(&number.to_be_bytes());
        }
        context.update(node.as_str().as_bytes());
        context.sign().as_ref().first_chunk().copied().map_or(0, u64::from_be_bytes)
    }
}

fn slot(now: Time) -> u128 {
    u128::from(now.as_micros()).checked_div(SLOT.as_micros()).unwrap_or_default()
}
