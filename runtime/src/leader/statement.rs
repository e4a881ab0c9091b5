//! What the leader says in the Lease to the next one.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::coordination::v1::Lease;
use tokio::sync::{Notify, watch};

/// The number of a term, and what is said in it.
type Said = Option<(u64, Arc<str>)>;

/// What the leader says in the Lease to the next one, which finds it in its [`Term`](super::Term). Clones share one state.
///
/// In the Lease the name of the holder stands before it: what is left of an earlier holder, because one of an earlier
/// version came after it, says nothing.
#[derive(Debug, Clone)]
pub struct Statement {
    text: Arc<Mutex<Said>>,
    changed: Arc<Notify>,
    written: watch::Sender<Said>,
}

impl Default for Statement {
    fn default() -> Self {
        Self { text: Arc::default(), changed: Arc::default(), written: watch::channel(None).0 }
    }
}

impl Statement {
    /// Has the leader say this from now on, as long as the term of this number lasts. The Lease is written at once.
    pub fn state(&self, term: u64, text: Arc<str>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some((term, text));
        self.changed.notify_one();
    }

    /// What the Lease surely says, and since which term. It may say something newer already.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<Option<(u64, Arc<str>)>> {
        self.written.subscribe()
    }

    /// Waits until there is something new to say.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What to say in this term.
    pub(super) fn of(&self, term: u64) -> Option<Arc<str>> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.as_ref().filter(|(known, _)| *known == term).map(|(_, text)| text.clone())
    }

    /// The Lease says this.
    pub(super) fn was_written(&self, term: u64, text: Arc<str>) {
        self.written.send_replace(Some((term, text)));
    }
}

/// The annotation for a text of this holder.
pub(super) fn value(holder: &str, text: &str) -> String {
    format!("{holder} {text}")
}

/// What the holder of the Lease has said.
pub(super) fn found(lease: &Lease, annotation: &str) -> Option<Arc<str>> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    let (by, text) = lease.metadata.annotations.as_ref()?.get(annotation)?.split_once(' ')?;
    (by == holder).then(|| text.into())
}
