//! The cluster's gossip keys, and the key of each boot.

use ring::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use ring::{digest, hmac};

use crate::model::node::{BootId, NodeId};

/// The cluster's gossip keys.
#[derive(Clone)]
pub struct Keys {
    pub(super) current: Key,
    previous: Option<Key>,
}

/// One key, and its name on the wire.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: [u8; 4],
    secret: hmac::Key,
}

impl Keys {
    /// Keys from the Secret; 32 random bytes each.
    #[must_use]
    pub fn new(current: &[u8], previous: Option<&[u8]>) -> Self {
        Self { current: Key::new(current), previous: previous.map(Key::new) }
    }

    pub(super) fn find(&self, id: [u8; 4]) -> Option<&Key> {
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

    /// A secret that only this boot of a node uses.
    pub(super) fn own_secret(&self, node: &NodeId, boot: BootId) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(b"challenges");
        context.update(&boot.0.to_be_bytes());
        context.update(node.as_str().as_bytes());
        context.sign()
    }

    /// The key of one boot of a node.
    pub(super) fn derive(&self, node: &NodeId, boot: BootId) -> Option<LessSafeKey> {
        let mut context = hmac::Context::with_key(&self.secret);
        context.update(&boot.0.to_be_bytes());
        context.update(node.as_str().as_bytes());
        UnboundKey::new(&CHACHA20_POLY1305, context.sign().as_ref()).ok().map(LessSafeKey::new)
    }
}
