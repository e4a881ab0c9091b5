//! This node's claims, and what others may read of them.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Bound;

use crate::claims::digest::claim_digest;
use crate::wire::{Change, Epoch, Frame, MAX_CLAIMS};

/// How many changes are kept for those who fell behind.
const LOG: usize = 512;
/// The most frames in answer to one pull.
pub(super) const BATCH: usize = 16;

/// This node's claims.
#[derive(Debug)]
pub struct OwnClaims {
    claims: BTreeMap<IpAddr, Epoch>,
    version: u64,
    digest: u64,
    log: VecDeque<Change>,
    /// The version up to which changes were sent to others.
    announced: u64,
}

impl Default for OwnClaims {
    fn default() -> Self {
        // Others take version 0 for "nothing known".
        Self { claims: BTreeMap::new(), version: 1, digest: 0, log: VecDeque::new(), announced: 1 }
    }
}

impl OwnClaims {
    /// Sets or ends a claim.
    pub fn set(&mut self, address: IpAddr, epoch: Option<Epoch>) {
        let before = match epoch {
            Some(epoch) => self.claims.insert(address, epoch),
            None => self.claims.remove(&address),
        };
        if before == epoch {
            return;
        }
        for epoch in before.into_iter().chain(epoch) {
            self.digest ^= claim_digest(address, epoch);
        }
        self.version = self.version.saturating_add(1);
        self.log.push_back((address, epoch));
        if self.log.len() > LOG {
            self.log.pop_front();
        }
    }

    /// The epoch of a claim.
    #[must_use]
    pub fn epoch(&self, address: IpAddr) -> Option<Epoch> {
        self.claims.get(&address).copied()
    }

    /// All claims, in order of address.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, Epoch)> {
        self.claims.iter().map(|(address, epoch)| (*address, *epoch))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// The version: grows with every change.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The digest of the set.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// The changes that were not sent to others yet, which counts as sending them; nothing if there is none. The list is
    /// empty if there are more than the log keeps: then others notice by the version.
    pub fn take_changes(&mut self) -> Option<Vec<Frame>> {
        let since = self.announced;
        if self.version == since {
            return None;
        }
        self.announced = self.version;
        Some(self.changes(since).unwrap_or_default())
    }

    /// The changes after a version; nothing if the log does not reach back so far.
    #[must_use]
    pub fn changes(&self, since: u64) -> Option<Vec<Frame>> {
        let missing = usize::try_from(self.version.checked_sub(since)?).ok()?;
        let skip = self.log.len().checked_sub(missing)?;
        let changes: Vec<Change> = self.log.iter().skip(skip).copied().collect();
        let mut from = since;
        let chunks = changes.chunks(MAX_CLAIMS).take(BATCH);
        Some(
            chunks
                .map(|chunk| {
                    let to = from.saturating_add(u64::try_from(chunk.len()).unwrap_or(0));
                    let frame = Frame::Changes { from, to, changes: chunk.to_vec() };
                    from = to;
                    frame
                })
                .collect(),
        )
    }

    /// The answer to a pull.
    #[must_use]
    pub fn answer(&self, since: u64, after: Option<IpAddr>) -> Vec<Frame> {
        if after.is_none()
            && since > 0
            && let Some(changes) = self.changes(since)
        {
            return changes;
        }
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rest: Vec<_> =
            self.claims.range((start, Bound::Unbounded)).map(|(a, e)| (*a, *e)).take(MAX_CLAIMS * BATCH + 1).collect();
        let mut pages = Vec::new();
        let mut after = after;
        for chunk in rest.chunks(MAX_CLAIMS).take(BATCH) {
            let sent = (pages.len() + 1) * MAX_CLAIMS;
            let claims = chunk.to_vec();
            let next = chunk.last().map(|(address, _)| *address);
            pages.push(Frame::Page { version: self.version, after, claims, last: sent >= rest.len() });
            after = next;
        }
        if pages.is_empty() {
            pages.push(Frame::Page { version: self.version, after, claims: Vec::new(), last: true });
        }
        pages
    }
}
