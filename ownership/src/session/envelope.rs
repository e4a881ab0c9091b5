//! Authenticated datagrams.
//!
//! ```text
//! "PO" 2 | key id (4) | boot (16) | sequence (8) | length of name (1) | name | body, encrypted | tag (16)
//! ```
//!
//! The third byte is the version of the wire ([`VERSION`]). A datagram of another version is counted and not answered:
//! its sender is watched by other means.
//!
//! Each boot of each node has its own ChaCha20-Poly1305 key, derived from the cluster's key by HMAC-SHA-256 over node
//! and boot; so the sequence serves as nonce and is never used twice. Everything before the body is authenticated
//! too. Two cluster keys are accepted (rotation), the current one is used for sending.
//!
//! A body is believed only from a boot that answered a challenge, once per sequence number ([`Opened::known`]); a
//! recording of an earlier boot is therefore worth nothing.

use std::collections::BTreeMap;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce};

use crate::model::node::{BootId, NodeId};
use crate::session::keys::Keys;
use crate::session::refusal::{MAX_DATAGRAM, Refusal};
use crate::session::replay::ReplayWindow;
use crate::wire::VERSION;

/// How many senders are remembered: then the one that was heard longest ago is forgotten. It is challenged again.
const MAX_SESSIONS: usize = 5000;
const MAGIC: [u8; 2] = *b"PO";

fn nonce(sequence: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    if let Some(end) = bytes.last_chunk_mut::<8>() {
        *end = sequence.to_be_bytes();
    }
    Nonce::assume_unique_for_key(bytes)
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
        out.push(VERSION);
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
    /// Its number among the datagrams of that boot.
    pub sequence: u64,
    /// Whether the boot has answered a challenge; if not, only challenge and response are to be read.
    pub known: bool,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Debug)]
struct Peer {
    boot: BootId,
    key_id: [u8; 4],
    key: LessSafeKey,
    window: ReplayWindow,
    /// When it was last heard: how many datagrams had been opened then.
    heard: u64,
}

/// Opens what others send.
#[derive(Debug)]
pub struct Opener {
    own: NodeId,
    keys: Keys,
    sessions: BTreeMap<NodeId, Peer>,
    /// How many datagrams of known senders were opened.
    opened: u64,
    /// Datagrams refused, by reason.
    pub refused: BTreeMap<Refusal, u64>,
}

impl Opener {
    /// Knows nobody yet.
    #[must_use]
    pub const fn new(own: NodeId, keys: Keys) -> Self {
        Self { own, keys, sessions: BTreeMap::new(), opened: 0, refused: BTreeMap::new() }
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

    /// The boot has answered a challenge with the datagram of this number: what it sent before counts as seen, so that
    /// recordings of it are worth nothing.
    pub fn trust(&mut self, node: &NodeId, boot: BootId, sequence: u64) {
        let Some(key) = self.keys.current.derive(node, boot) else { return };
        if self.sessions.len() >= MAX_SESSIONS && !self.sessions.contains_key(node) {
            let oldest = self.sessions.iter().min_by_key(|(_, peer)| peer.heard).map(|(node, _)| node.clone());
            self.sessions.retain(|node, _| Some(node) != oldest.as_ref());
        }
        let (key_id, window, heard) = (self.keys.current.id, ReplayWindow::after(sequence), self.opened);
        self.sessions.insert(node.clone(), Peer { boot, key_id, key, window, heard });
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
        let (magic, rest) = datagram.split_first_chunk::<2>().ok_or(Refusal::Truncated)?;
        if *magic != MAGIC {
            return Err(Refusal::Foreign);
        }
        let (version, rest) = rest.split_first().ok_or(Refusal::Truncated)?;
        if *version != VERSION {
            return Err(Refusal::Version);
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
            if !session.window.accept(sequence) {
                return Err(Refusal::Replayed);
            }
            self.opened = self.opened.saturating_add(1);
            session.heard = self.opened;
        } else {
            let key = key.derive(&node, boot).ok_or(Refusal::WrongKey)?;
            unseal(&key, sequence, header, &mut body)?;
            if node == self.own {
                return Err(Refusal::Reflected);
            }
        }
        Ok(Opened { node, boot, sequence, known, body })
    }
}

fn unseal(key: &LessSafeKey, sequence: u64, header: &[u8], body: &mut Vec<u8>) -> Result<(), Refusal> {
    let length = key.open_in_place(nonce(sequence), Aad::from(header), body).map_err(|_| Refusal::Forged)?.len();
    body.truncate(length);
    Ok(())
}
