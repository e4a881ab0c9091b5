//! The gossip keys, from the Secret that all agents share.

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::Event;
use ownership::Keys;
use sha2::{Digest, Sha256};

use crate::cluster::input::Input;

/// The name in the Secret of the key for sending.
pub const CURRENT: &str = "current";
/// The name in the Secret of the key that is accepted as well, while a new one is distributed.
pub const PREVIOUS: &str = "previous";
/// The minimum length of a key in bytes. A shorter one could be guessed.
pub const LEAST: usize = 16;

/// Stands for the absence of a key. No key has this digest.
const NONE: [u8; 32] = [0; 32];

/// The Secret as its watch shows it.
#[derive(Debug, Default)]
pub struct KeyWatch {
    /// The digest of the keys that were delivered last, so that a new list does not count as a change.
    told: Option<[u8; 32]>,
    /// Whether the list in progress contains the Secret.
    listed: bool,
}

impl KeyWatch {
    /// Handles an event of the watch; returns the keys if they differ from those that were delivered last.
    pub fn apply(&mut self, event: &Event<Secret>) -> Option<Input> {
        match event {
            Event::Init => {
                self.listed = false;
                None
            }
            Event::InitApply(secret) => {
                self.listed = true;
                self.tell(Some(secret))
            }
            Event::Apply(secret) => self.tell(Some(secret)),
            Event::InitDone if self.listed => None,
            Event::InitDone | Event::Delete(_) => self.tell(None),
        }
    }

    fn tell(&mut self, secret: Option<&Secret>) -> Option<Input> {
        let (keys, digest) = secret.and_then(read).map_or((None, NONE), |(keys, digest)| (Some(keys), digest));
        (self.told.replace(digest) != Some(digest)).then_some(Input::Keys(keys))
    }
}

/// The keys of the Secret with their digest; nothing without a current key.
fn read(secret: &Secret) -> Option<(Keys, [u8; 32])> {
    let current = key(secret, CURRENT)?;
    let previous = key(secret, PREVIOUS);
    let mut digest = Sha256::new();
    digest.update(Sha256::digest(current));
    digest.update(previous.map(Sha256::digest).unwrap_or_default());
    Some((Keys::new(current, previous), digest.finalize().into()))
}

fn key<'a>(secret: &'a Secret, name: &'static str) -> Option<&'a [u8]> {
    let key = secret.data.as_ref()?.get(name)?.0.as_slice();
    match key.len() {
        // The manifests contain an empty key.
        0 => None,
        bytes if bytes < LEAST => {
            tracing::warn!(
                op = "gossipKey",
                key = name,
                bytes,
                least = LEAST,
                "the key in the Secret is too short and is ignored"
            );
            None
        }
        _ => Some(key),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(data: &[(&str, usize)]) -> Secret {
        let data = data.iter().map(|(name, length)| ((*name).to_owned(), ByteString(vec![7; *length]))).collect();
        Secret { data: Some(data), ..Secret::default() }
    }

    /// Whether there were news, and keys in them.
    fn told(watch: &mut KeyWatch, event: &Event<Secret>) -> (bool, bool) {
        let news = watch.apply(event);
        (news.is_some(), matches!(news, Some(Input::Keys(Some(_)))))
    }

    #[test]
    fn an_empty_secret_and_none_at_all_have_no_keys() {
        for secret in [secret(&[]), secret(&[("current", 0)]), secret(&[("previous", 32)]), Secret::default()] {
            let mut watch = KeyWatch::default();
            assert_eq!(told(&mut watch, &Event::Init), (false, false));
            assert_eq!(told(&mut watch, &Event::InitApply(secret)), (true, false));
            assert_eq!(told(&mut watch, &Event::InitDone), (false, false));
        }
        let mut watch = KeyWatch::default();
        assert_eq!(told(&mut watch, &Event::Init), (false, false));
        assert_eq!(told(&mut watch, &Event::InitDone), (true, false));
    }

    #[test]
    fn only_a_change_is_told() {
        let mut watch = KeyWatch::default();
        let (first, both) = (secret(&[("current", 32)]), secret(&[("current", 32), ("previous", 31)]));
        assert_eq!(told(&mut watch, &Event::InitApply(first.clone())), (true, true));
        assert_eq!(told(&mut watch, &Event::InitDone), (false, false));
        assert_eq!(told(&mut watch, &Event::Apply(first.clone())), (false, false));
        assert_eq!(told(&mut watch, &Event::Init), (false, false));
        assert_eq!(told(&mut watch, &Event::InitApply(first.clone())), (false, false));
        assert_eq!(told(&mut watch, &Event::Apply(both)), (true, true));
        assert_eq!(told(&mut watch, &Event::Apply(secret(&[("current", 31)]))), (true, true));
        assert_eq!(told(&mut watch, &Event::Delete(first.clone())), (true, false));
        assert_eq!(told(&mut watch, &Event::Init), (false, false));
        assert_eq!(told(&mut watch, &Event::InitDone), (false, false));
        assert_eq!(told(&mut watch, &Event::Apply(first)), (true, true));
    }

    #[test]
    fn short_keys_are_ignored() {
        assert!(read(&secret(&[("current", 15)])).is_none());
        let digest = |data: &[(&str, usize)]| read(&secret(data)).unwrap().1;
        assert_eq!(digest(&[("current", 16), ("previous", 15)]), digest(&[("current", 16)]));
        assert_ne!(digest(&[("current", 16), ("previous", 16)]), digest(&[("current", 16)]));
    }
}
