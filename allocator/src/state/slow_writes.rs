//! Takes in how long writes to Services took, and tells who keeps the API server from answering them.

use std::time::Duration;

use api_types::names::reason::API_SERVER_SLOW;
use tracing::warn;

use super::index::Index;
use crate::model::{Service, ServiceName};
use crate::plan::Notice;

/// An answer that takes longer is told as well.
const SLOW: Duration = Duration::from_secs(5);

impl Index {
    /// The API server did not carry out a write to the Service within this time. It is sent again.
    pub fn write_failed(&mut self, name: &ServiceName, took: Duration) {
        if took >= SLOW {
            self.unanswered.add(name, took);
        } else {
            self.end_unanswered(name);
        }
    }

    /// A write to the Service was answered after this time.
    pub fn write_answered(&mut self, name: &ServiceName, took: Duration) {
        self.end_unanswered(name);
        if took >= SLOW {
            let text = format!("the API server took {} s to write this Service's status", took.as_secs());
            self.unanswered.tell(name, text);
        } else if self.unanswered.in_a_row.is_empty() {
            self.unanswered.told.clear();
        }
    }

    /// Nothing is written to the Service any more, or the last write was answered.
    pub(super) fn end_unanswered(&mut self, name: &ServiceName) {
        if self.unanswered.end(name) {
            self.status.touch_all();
        }
    }

    /// Whether Services are to be told which webhooks the API server asks.
    #[must_use]
    pub fn wants_webhooks(&self) -> bool {
        !self.unanswered.untold.is_empty()
    }

    /// Tells which webhooks the API server asks before it answers.
    pub fn tell_webhooks(&mut self, cause: &str) {
        self.unanswered.cause = Some(cause.to_owned());
        self.status.touch_all();
        for (name, text) in std::mem::take(&mut self.unanswered.untold) {
            self.unanswered.told.insert(name.clone());
            warn!(op = "write", service = %name, "{text}: {cause}");
            let Some(reference) = self.services.get(&name).map(Service::reference) else { continue };
            self.publish(reference, Notice::warning(API_SERVER_SLOW, format!("{text}: {cause}")));
        }
    }
}
