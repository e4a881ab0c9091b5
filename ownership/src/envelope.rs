//! Authenticated datagrams.
//!
//! ```text
//! "PO" 1 | key id (4) | boot (16) | sequence (8) | length of name (1) | name | body, encrypted | tag (16)
//! ```
//!
//! Each boot of each node has its own ChaCha20-Poly1305 key, derived from the cluster's key by HMAC-SHA-256 over node
//! and boot; so the sequence serves as nonce and is never used twice. Everything before the body is authenticated
//! too. Two cluster keys are accepted (rotation), the current one is used for sending.
//!
//! A body is believed only from a boot that answered a challenge, once per sequence number ([`Opened::known`]); a
//! recording of an earlier boot is therefore worth nothing.

use std::collections::BTreeMap;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{digest, hmac};
use thiserror::Error;

use crate::node::{BootId, NodeId};

/// The largest datagram that is looked at, in bytes.
pub const MAX_DATAGRAM: usize = 1400;
/// How many senders are remembered.
const MAX_SESSIONS: usize = 5000;
const MAGIC: [u8; 3] = *b"PO\x01";

/// The cluster's gossip keys.
#[derive(Clone)]
pub struct Keys {
    current: Key,
    previous: Option<Key>,
}

#[derive(Clone)]
struct Key {
    id: [u8; 4],
    secret: hmac::Key,
}

impl Keys {
    /// Keys from the Secret; 32 random bytes each.
    #[must_use]
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Self {
        Self { current: Key::new(current), previous: previous.map(Key::new) }
    }

    fn find(&self, id: [u8; 4]) -> Option<&Key> {
        std::iter::once(&self.current).chain(&self.previous).find(|key| key.id == id)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Key {
    fn new(secret: &[u8]) -> Self {
        let hash = digest::digest(&digest::SHA256, secret);
        let id = hash.as_ref().first_chunk::<4>().copied().unwrap_or_default();
        Self { id, secret: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    fn derive(&self, node: &NodeId, boot: BootId) -> Option<LessSafeKey> {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(&boot.0.to_be_bytes());
        context.update(node.as_str().as_bytes());
        UnboundKey::new(&CHACHA20_POLY1305, context.sign().as_ref()).ok().map(LessSafeKey::new)
    }
}

fn nonce(sequence: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    if let Some(end) = bytes.last_chunk_mut::<8>() {
        *end = sequence.to_be_bytes();
    }
    Nonce::assume_unique_for_key(bytes)
}

/// Why a datagram is dropped; each is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Refusal {
    /// Larger than [`MAX_DATAGRAM`].
    #[error("oversized datagram")]
    Oversized,
    /// Too short for its envelope.
    #[error("truncated datagram")]
    Truncated,
    /// Not ours, or of a version that is not understood.
    #[error("not a datagram of this protocol")]
    Foreign,
    /// Made with a key that we do not have.
    #[error("datagram with another gossip key: is the Secret the same everywhere?")]
    WrongKey,
    /// Damaged or forged.
    #[error("datagram that fails authentication")]
    Forged,
    /// Seen before, or too old.
    #[error("replayed datagram")]
    Replayed,
    /// In our own name.
    #[error("datagram from another agent with our own node name, or our own sent back")]
    Reflected,
    /// Authentic, but not understood.
    #[error("body that is not understood")]
    Malformed,
}

/// Seals what this boot sends.
#[derive(Debug)]
pub struct Sealer {
    node: NodeId,
    boot: BootId,
    id: [u8; 4],
    key: Option<LessSafeKey>,
    sequence: u64,
}

impl Sealer {
    /// For this boot of this node.
    #[must_use]
    pub fn new(node: NodeId, boot: BootId, keys: &Keys) -> Self {
        let key = keys.current.derive(&node, boot);
        Self { node, boot, id: keys.current.id, key, sequence: 0 }
    }

    /// Sends with other keys from now on; sequences go on.
    pub fn rekey(&mut self, keys: &Keys) {
        self.id = keys.current.id;
        self.key = keys.current.derive(&self.node, self.boot);
    }

    /// A datagram with this body; nothing after 2^64 of them.
    pub fn seal(&mut self, mut body: Vec<u8>) -> Option<Vec<u8>> {
        self.sequence = self.sequence.checked_add(1)?;
        let name = self.node.as_str().as_bytes();
        let mut out = Vec::with_capacity(64 + name.len() + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&self.boot.0.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.push(u8::try_from(name.len()).ok()?);
        out.extend_from_slice(name);
        let key = self.key.as_ref()?;
        key.seal_in_place_append_tag(nonce(self.sequence), Aad::from(&out), &mut body).ok()?;
        out.extend_from_slice(&body);
        Some(out)
    }
}

/// An authentic datagram.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// Who sent it.
    pub node: NodeId,
    /// Which boot.
    pub boot: BootId,
    /// Whether the boot has answered a challenge; if not, only challenge and response are to be read.
    pub known: bool,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Debug)]
struct Session {
    boot: BootId,
    key_id: [u8; 4],
    key: LessSafeKey,
    highest: u64,
    /// Bit n: sequence `highest - n` was seen.
    seen: u128,
}

impl Session {
    const fn accept(&mut self, sequence: u64) -> bool {
        if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.seen = if ahead < 128 { self.seen << ahead } else { 0 };
            self.highest = sequence;
        }
        let behind = self.highest - sequence;
        if behind >= 128 || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

/// Opens what others send.
#[derive(Debug)]
pub struct Opener {
    own: NodeId,
    keys: Keys,
    sessions: BTreeMap<NodeId, Session>,
    /// Datagrams refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
}

impl Opener {
    /// Knows nobody yet.
    #[must_use]
    pub const fn new(own: NodeId, keys: Keys) -> Self {
        Self { own, keys, sessions: BTreeMap::new(), refused: BTreeMap::new() }
    }

    /// Accepts other keys from now on; senders stay known.
    pub fn rekey(&mut self, keys: Keys) {
        self.keys = keys;
    }

    /// Counts a refusal.
    pub fn count(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal).or_default() += 1;
    }

    /// The boot that a node last proved.
    #[must_use]
    pub fn boot(&self, node: &NodeId) -> Option<BootId> {
        self.sessions.get(node).map(|session| session.boot)
    }

    /// The boot has answered a challenge.
    pub fn trust(&mut self, node: &NodeId, boot: BootId) {
        let key = self.keys.current.derive(node, boot);
        let (Some(key), true) = (key, self.sessions.len() < MAX_SESSIONS || self.sessions.contains_key(node)) else {
            return;
        };
        let key_id = self.keys.current.id;
        self.sessions.insert(node.clone(), Session { boot, key_id, key, highest: 0, seen: 0 });
    }

    /// Opens a datagram, or counts why not.
    ///
    /// # Errors
    /// The reason why it is to be dropped.
    pub fn open(&mut self, datagram: &[u8]) -> Result<Opened, Refusal> {
        self.try_open(datagram).inspect_err(|refusal| self.count(*refusal))
    }

    fn try_open(&mut self, datagram: &[u8]) -> Result<Opened, Refusal> {
        if datagram.len() > MAX_DATAGRAM {
            return Err(Refusal::Oversized);
        }
        let (magic, rest) = datagram.split_first_chunk::<3>().ok_or(Refusal::Truncated)?;
        if *magic != MAGIC {
            return Err(Refusal::Foreign);
        }
        let (key_id, rest) = rest.split_first_chunk::<4>().ok_or(Refusal::Truncated)?;
        let (boot, rest) = rest.split_first_chunk::<16>().ok_or(Refusal::Truncated)?;
        let (sequence, rest) = rest.split_first_chunk::<8>().ok_or(Refusal::Truncated)?;
        let (length, rest) = rest.split_first().ok_or(Refusal::Truncated)?;
        let (name, sealed) = rest.split_at_checked(usize::from(*length)).ok_or(Refusal::Truncated)?;
        if sealed.len() < CHACHA20_POLY1305.tag_len() {
            return Err(Refusal::Truncated);
        }
        let node = std::str::from_utf8(name).ok().and_then(NodeId::new).ok_or(Refusal::Foreign)?;
        let (boot, sequence) = (BootId(u128::from_be_bytes(*boot)), u64::from_be_bytes(*sequence));
        let header = datagram.get(..datagram.len() - sealed.len()).ok_or(Refusal::Truncated)?;
        let key = self.keys.find(*key_id).ok_or(Refusal::WrongKey)?;
        let session = self.sessions.get_mut(&node).filter(|session| session.boot == boot);
        let mut body = sealed.to_vec();
        let known = session.is_some();
        if let Some(session) = session {
            if session.key_id != *key_id {
                session.key = key.derive(&node, boot).ok_or(Refusal::WrongKey)?;
                session.key_id = *key_id;
            }
            unseal(&session.key, sequence, header, &mut body)?;
            if node == self.own {
                return Err(Refusal::Reflected);
            }
            if !session.accept(sequence) {
                return Err(Refusal::Replayed);
            }
        } else {
            let key = key.derive(&node, boot).ok_or(Refusal::WrongKey)?;
            unseal(&key, sequence, header, &mut body)?;
            if node == self.own {
                return Err(Refusal::Reflected);
            }
        }
        Ok(Opened { node, boot, known, body })
    }
}

fn unseal(key: &LessSafeKey, sequence: u64, header: &[u8], body: &mut Vec<u8>) -> Result<(), Refusal> {
    let length = key.open_in_place(nonce(sequence), Aad::from(header), body).map_err(|_| Refusal::Forged)?.len();
    body.truncate(length);
    Ok(())
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
