//! Digests of what the machines of a cluster did, to compare two builds.

use std::hash::{DefaultHasher, Hash};

use ownership::Action;

/// Digests of everything that the machines of a cluster did: a change that is to change no behaviour changes neither.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    /// What they sent, asked, added, removed and announced, and when.
    pub actions: DefaultHasher,
    /// What they reported.
    pub reports: DefaultHasher,
}

impl Digest {
    pub fn add(&mut self, at: u64, node: usize, action: &Action) {
        let hasher = if matches!(action, Action::Notify(_)) { &mut self.reports } else { &mut self.actions };
        (at, node).hash(hasher);
        match action {
            Action::Send { to, bytes } => (0, to, bytes).hash(hasher),
            Action::Probe { link, target, to, .. } => (1, link, target, to).hash(hasher),
            Action::Add { address, link } => (2, address, link).hash(hasher),
            Action::Remove { address, link } => (3, address, link).hash(hasher),
            Action::Renew => 4.hash(hasher),
            Action::Announce { address, link } => (5, address, link).hash(hasher),
            Action::Introduce { address, link, host, to } => (7, address, link, host, to).hash(hasher),
            Action::ReadKernel => 6.hash(hasher),
            Action::Notify(notification) => format!("{notification:?}").hash(hasher),
        }
    }
}
