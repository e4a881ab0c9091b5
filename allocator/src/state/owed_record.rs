//! The record of the sidecars' sockets and of what is to be given back to them. It survives the process, a change of leader and the deletion of
//! groups.
//!
//! It is the value of one key of a ConfigMap that the manifests contain empty. The leader reads it before it sends any
//! call, and is the only one that writes it.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::BootTime;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::external::Owed;

/// The most releases that are recorded: an object of the API server has a limit of about 1 MiB.
pub(super) const MOST_RECORDED: usize = 2000;
/// The record is written at most this often.
const PERIOD: Duration = Duration::from_secs(1);
/// How often it is looked whether somebody else has changed or emptied the record.
const LOOK: Duration = Duration::from_secs(60);
/// The pause after a write that failed.
const RETRY: Duration = Duration::from_secs(5);
/// How long a term lasts before it is told what is owed of groups that are gone, and how often that is told.
const FIRST_REMINDER: Duration = Duration::from_secs(600);
const REMINDERS: Duration = Duration::from_secs(24 * 3600);

/// What is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Content {
    /// The cluster that owes.
    pub(super) cluster: String,
    /// The groups and the sockets of their sidecars, so that a group can be deleted.
    #[serde(default)]
    pub(super) groups: BTreeMap<String, String>,
    /// What is to be given back.
    #[serde(default)]
    pub(super) owed: Vec<Owed>,
}

/// Why nothing of a record is resumed.
#[derive(Debug, Error)]
pub(super) enum UnusableRecord {
    /// The debts of another cluster, from a copy of its objects, are its own.
    #[error(
        "the record of what IPAM sidecars are owed is of the cluster {cluster:?}, and this one is {here:?}: what it lists is that cluster's, and is not given back"
    )]
    OfAnotherCluster { cluster: String, here: String, owed: Vec<Owed> },
    /// Somebody edited it.
    #[error("the record of what IPAM sidecars are owed cannot be read ({0}), and what it listed is not given back")]
    Malformed(#[from] serde_json::Error),
}

/// The record, as far as this process knows it.
#[derive(Debug, Default)]
pub(super) struct OwedRecord {
    /// The text that is written. Without it there is no object to write to.
    written: Option<String>,
    in_flight: Option<String>,
    next_at: BootTime,
    /// When the text is sent again though it is written: a write that changes nothing only reads.
    look_at: BootTime,
    /// When it is told next what is owed of groups that are gone.
    remind_at: Option<BootTime>,
    /// Whether there was too much for the record.
    overflowed: bool,
}

impl OwedRecord {
    /// A term begins with this text; `None` if the object does not exist.
    ///
    /// # Errors
    /// Nothing of the text can be resumed. The record is written anew.
    pub(super) fn begin(&mut self, cluster: &str, text: Option<&str>) -> Result<Content, UnusableRecord> {
        *self = Self { written: text.map(str::to_owned), ..Self::default() };
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Content::default()) };
        let content: Content = serde_json::from_str(text)?;
        if content.cluster == cluster {
            return Ok(content);
        }
        let Content { cluster: theirs, owed, .. } = content;
        Err(UnusableRecord::OfAnotherCluster { cluster: theirs, here: cluster.to_owned(), owed })
    }

    /// Whether it is to be told now what is owed of groups that are gone.
    pub(super) fn may_remind(&mut self, now: BootTime) -> bool {
        let due = *self.remind_at.get_or_insert(now + FIRST_REMINDER) <= now;
        if due {
            self.remind_at = Some(now + REMINDERS);
        }
        due
    }

    /// Whether a write may be sent now.
    pub(super) fn may_write(&self, now: BootTime) -> bool {
        self.written.is_some() && self.in_flight.is_none() && now >= self.next_at
    }

    /// The text to write now, if it is to change, and what is too much for it if that is news.
    pub(super) fn next(&mut self, mut content: Content, now: BootTime) -> (Option<String>, Vec<Owed>) {
        let too_many = content.owed.split_off(content.owed.len().min(MOST_RECORDED));
        let overflowed = std::mem::replace(&mut self.overflowed, !too_many.is_empty());
        let news = if overflowed { Vec::new() } else { too_many };
        let is_empty = content.groups.is_empty() && content.owed.is_empty();
        let text = if is_empty { String::new() } else { serde_json::to_string(&content).unwrap_or_default() };
        if self.written.as_ref() == Some(&text) && (is_empty || now < self.look_at) {
            return (None, news);
        }
        self.look_at = now + LOOK;
        self.in_flight = Some(text.clone());
        self.next_at = now + PERIOD;
        (Some(text), news)
    }

    /// The write has ended.
    pub(super) fn ended(&mut self, success: bool, now: BootTime) {
        let Some(text) = self.in_flight.take() else { return };
        if success {
            self.written = Some(text);
        } else {
            self.next_at = now + RETRY;
        }
    }
}
