//! The numbers of pings: each is the time at which the ping is sent, so that the answer says when the question was asked.

use crate::model::time::{Time, ms};

/// An answer to an older ping says nothing any more, in milliseconds.
const OLDEST: u32 = 2000;

/// The number of a ping that is sent now.
#[must_use]
pub fn ping_number(now: Time) -> u32 {
    u32::try_from(now.as_micros() / 1000 % (1 << 32)).unwrap_or(0)
}

/// When the ping with this number was sent; nothing if that is impossible or long ago.
#[must_use]
pub fn sent_at(number: u32, now: Time) -> Option<Time> {
    let age = ping_number(now).wrapping_sub(number);
    (age < OLDEST).then(|| now - ms(age.into()))
}
