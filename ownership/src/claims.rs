//! Who claims what: each node is the authority for its own set; everybody else keeps replicas.
//!
//! Every datagram carries version and digest of its sender's set. Who sees another version than it has pulls the
//! changes since then, or pages of everything; a digest that differs at the same version makes it start over. So
//! 10,000 claims cost a few bytes per datagram while nothing changes, and one small message per change. In a large
//! cluster most members hear of a change by rumour, which tells the version only.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::ops::Bound;

use ring::digest::{SHA256, digest};

use crate::node::{BootId, NodeId};
use crate::time::Time;
use crate::wire::{Change, Epoch, MAX_CLAIMS, Message};

/// How many changes are kept for those who fell behind.
const LOG: usize = 512;
/// The most messages in answer to one pull.
const BATCH: usize = 16;

fn mix(address: IpAddr, epoch: Epoch) -> u64 {
    let mut bytes = [0; 24];
    let (ip, number) = bytes.split_at_mut(16);
    let octets = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    ip.copy_from_slice(&octets);
    number.copy_from_slice(&epoch.to_be_bytes());
    digest(&SHA256, &bytes).as_ref().first_chunk::<8>().copied().map_or(0, u64::from_be_bytes)
}

/// This node's claims.
#[derive(Debug)]
pub struct OwnClaims {
    claims: BTreeMap<IpAddr, Epoch>,
    version: u64,
    digest: u64,
    log: VecDeque<Change>,
}

impl Default for OwnClaims {
    fn default() -> Self {
        // Version 0 means: nothing known.
        Self { claims: BTreeMap::new(), version: 1, digest: 0, log: VecDeque::new() }
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
            self.digest ^= mix(address, epoch);
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

    /// The changes after a version; nothing if the log does not reach back so far.
    #[must_use]
    pub fn changes(&self, since: u64) -> Option<Vec<Message>> {
        let missing = usize::try_from(self.version.checked_sub(since)?).ok()?;
        let skip = self.log.len().checked_sub(missing)?;
        let changes: Vec<Change> = self.log.iter().skip(skip).copied().collect();
        let mut from = since;
        let chunks = changes.chunks(MAX_CLAIMS).take(BATCH);
        Some(
            chunks
                .map(|chunk| {
                    let to = from.saturating_add(u64::try_from(chunk.len()).unwrap_or(0));
                    let message = Message::Changes { from, to, changes: chunk.to_vec() };
                    from = to;
                    message
                })
                .collect(),
        )
    }

    /// The answer to a pull.
    #[must_use]
    pub fn answer(&self, since: u64, after: Option<IpAddr>) -> Vec<Message> {
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
            pages.push(Message::Page { version: self.version, after, claims, last: sent >= rest.len() });
            after = next;
        }
        if pages.is_empty() {
            pages.push(Message::Page { version: self.version, after, claims: Vec::new(), last: true });
        }
        pages
    }
}

#[derive(Debug)]
struct Reading {
    version: u64,
    claims: BTreeMap<IpAddr, Epoch>,
    pages: usize,
}

#[derive(Debug, Default)]
struct Replica {
    boot: Option<BootId>,
    version: u64,
    digest: u64,
    claims: BTreeMap<IpAddr, Epoch>,
    reading: Option<Reading>,
    asked: Option<Time>,
}

impl Replica {
    fn pull(&mut self, version: u64, now: Time) -> Message {
        self.asked = Some(now);
        let after = self.reading.as_ref().filter(|reading| reading.version == version);
        let after = after.and_then(|reading| reading.claims.last_key_value()).map(|(address, _)| *address);
        let since = if after.is_some() { 0 } else { self.version };
        Message::Pull { since, after }
    }
}

/// All claims that this node knows of.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Its own.
    pub own: OwnClaims,
    replicas: BTreeMap<NodeId, Replica>,
    by_address: BTreeMap<IpAddr, BTreeMap<NodeId, Epoch>>,
}

impl Ledger {
    /// The claims of others for an address.
    pub fn rivals(&self, address: IpAddr) -> impl Iterator<Item = (&NodeId, Epoch)> {
        self.by_address.get(&address).into_iter().flatten().map(|(node, epoch)| (node, *epoch))
    }

    /// The addresses that another node claims.
    pub fn of(&self, node: &NodeId) -> impl Iterator<Item = (IpAddr, Epoch)> {
        self.replicas
            .get(node)
            .into_iter()
            .flat_map(|replica| &replica.claims)
            .map(|(address, epoch)| (*address, *epoch))
    }

    /// Whether another node is known to claim anything.
    #[must_use]
    pub fn has_claims(&self, node: &NodeId) -> bool {
        self.replicas.get(node).is_some_and(|replica| !replica.claims.is_empty())
    }

    /// A new boot of a node: what it held is kept until it says what it holds now.
    pub fn rebooted(&mut self, node: &NodeId, boot: BootId) {
        let replica = self.replicas.entry(node.clone()).or_default();
        if replica.boot != Some(boot) {
            replica.boot = Some(boot);
            replica.version = 0;
            replica.reading = None;
            replica.asked = None;
        }
    }

    /// Forgets a node that left the cluster; returns the addresses it had claimed.
    pub fn forget(&mut self, node: &NodeId) -> Vec<IpAddr> {
        let claims = self.replicas.remove(node).map(|replica| replica.claims).unwrap_or_default();
        let addresses: Vec<_> = claims.into_keys().collect();
        for address in &addresses {
            self.unindex(*address, node);
        }
        addresses
    }

    /// A datagram told version and digest: the pull to send, if they are news.
    pub fn compare(
        &mut self,
        node: &NodeId,
        version: u64,
        digest: u64,
        now: Time,
        patience: std::time::Duration,
    ) -> Option<Message> {
        let replica = self.replicas.entry(node.clone()).or_default();
        if replica.version == version && replica.digest == digest || now.is_within(replica.asked, patience) {
            return None;
        }
        if replica.version >= version {
            replica.version = 0;
        }
        Some(replica.pull(version, now))
    }

    /// The pull to send for a version that a rumour told.
    pub fn pull(&mut self, node: &NodeId, version: u64, now: Time) -> Message {
        self.replicas.entry(node.clone()).or_default().pull(version, now)
    }

    /// Whether what we have of a node is older than this version.
    #[must_use]
    pub fn is_behind(&self, node: &NodeId, version: u64) -> bool {
        self.replicas.get(node).is_none_or(|replica| replica.version < version)
    }

    /// Whether what we have of a node is of this version.
    #[must_use]
    pub fn is_at(&self, node: &NodeId, version: u64) -> bool {
        self.replicas.get(node).is_some_and(|replica| replica.version == version)
    }

    /// Whether a node was asked for its claims within so long and has not answered.
    #[must_use]
    pub fn is_asked(&self, node: &NodeId, now: Time, patience: std::time::Duration) -> bool {
        self.replicas.get(node).is_some_and(|replica| now.is_within(replica.asked, patience))
    }

    /// Takes changes; returns the addresses concerned.
    pub fn apply_changes(&mut self, node: &NodeId, from: u64, to: u64, changes: &[Change]) -> Vec<IpAddr> {
        let replica = self.replicas.entry(node.clone()).or_default();
        if replica.version == 0 || from > replica.version || to <= replica.version {
            // The changes are facts all the same, unless they are older than what we have.
            return Vec::new();
        }
        let skip = usize::try_from(replica.version - from).unwrap_or(usize::MAX);
        replica.version = to;
        replica.asked = None;
        let mut concerned = Vec::new();
        for (address, epoch) in changes.iter().skip(skip) {
            if self.put(node, *address, *epoch) {
                concerned.push(*address);
            }
        }
        concerned
    }

    /// Takes a page; returns the addresses concerned, and the next pull if this was not the end.
    pub fn apply_page(
        &mut self,
        node: &NodeId,
        version: u64,
        after: Option<IpAddr>,
        claims: &[(IpAddr, Epoch)],
        last: bool,
    ) -> (Vec<IpAddr>, Option<Message>) {
        let replica = self.replicas.entry(node.clone()).or_default();
        if replica.version >= version {
            return (Vec::new(), None);
        }
        if after.is_none() {
            replica.reading = Some(Reading { version, claims: BTreeMap::new(), pages: 0 });
        }
        let Some(reading) = replica.reading.as_mut() else { return (Vec::new(), None) };
        let expected = reading.claims.last_key_value().map(|(address, _)| *address);
        if reading.version != version || expected != after {
            return (Vec::new(), None);
        }
        reading.claims.extend(claims.iter().copied());
        reading.pages += 1;
        let end_of_batch = reading.pages.is_multiple_of(BATCH);
        let mut concerned = Vec::new();
        if last {
            replica.asked = None;
            let complete = replica.reading.take().map(|reading| reading.claims).unwrap_or_default();
            let gone: Vec<_> =
                replica.claims.keys().filter(|address| !complete.contains_key(address)).copied().collect();
            replica.version = version;
            for (address, epoch) in
                gone.into_iter().map(|gone| (gone, None)).chain(complete.into_iter().map(|(a, e)| (a, Some(e))))
            {
                if self.put(node, address, epoch) {
                    concerned.push(address);
                }
            }
            return (concerned, None);
        }
        // What is read is known at once; only what is missing has to wait for the end.
        for (address, epoch) in claims {
            if self.put(node, *address, Some(*epoch)) {
                concerned.push(*address);
            }
        }
        let next = claims
            .last()
            .filter(|_| end_of_batch)
            .map(|(address, _)| Message::Pull { since: 0, after: Some(*address) });
        (concerned, next)
    }

    /// The node itself said what it holds this address by; returns whether that is news.
    pub fn put(&mut self, node: &NodeId, address: IpAddr, epoch: Option<Epoch>) -> bool {
        let replica = self.replicas.entry(node.clone()).or_default();
        let before = match epoch {
            Some(epoch) => replica.claims.insert(address, epoch),
            None => replica.claims.remove(&address),
        };
        if before == epoch {
            return false;
        }
        for epoch in before.into_iter().chain(epoch) {
            replica.digest ^= mix(address, epoch);
        }
        match epoch {
            Some(epoch) => {
                self.by_address.entry(address).or_default().insert(node.clone(), epoch);
            }
            None => self.unindex(address, node),
        }
        true
    }

    fn unindex(&mut self, address: IpAddr, node: &NodeId) {
        if let Some(nodes) = self.by_address.get_mut(&address) {
            nodes.remove(node);
            if nodes.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
