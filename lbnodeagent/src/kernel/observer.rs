//! The kernel's state as last heard: kept current by notifications, compared with dumps.

use std::io;

use api_types::Family;

use crate::kernel::netlink::error::KernelError;
use crate::kernel::netlink::monitor::{Monitor, Notifications};
use crate::model::link::DefaultRoute;
use crate::model::observed::{Affected, Change, Observed};

/// The observed state with its source.
///
/// Both writers to the kernel have one: the agent for everything, the protocol's thread for the interfaces of local
/// addresses.
#[derive(Debug)]
pub struct Observer {
    monitor: Monitor,
    observed: Observed,
    stale: bool,
}

impl Observer {
    /// Starts from a dump that was made after the monitor was opened, or a change between the two would be missed.
    #[must_use]
    pub const fn new(monitor: Monitor, observed: Observed) -> Self {
        Self { monitor, observed, stale: false }
    }

    /// The kernel's state as last heard.
    #[must_use]
    pub const fn observed(&self) -> &Observed {
        &self.observed
    }

    /// For what is known without a notification.
    pub const fn observed_mut(&mut self) -> &mut Observed {
        &mut self.observed
    }

    /// Whether the observed state may differ from the kernel's: everything must be read again.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        self.stale
    }

    /// The observed state may differ from the kernel's.
    pub const fn set_stale(&mut self) {
        self.stale = true;
    }

    /// Waits until there may be notifications; reading them must follow.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn wait(&self) -> io::Result<()> {
        self.monitor.wait().await
    }

    /// The changes since the last call, in order and not applied yet.
    pub fn changes(&mut self) -> Vec<Change> {
        let Notifications { changes, lost } = self.monitor.read();
        if lost {
            self.stale = true;
            tracing::warn!(op = "netlink", "notifications were lost: reading everything anew");
        }
        changes
    }

    /// Applies a change; returns what it affects.
    pub fn apply(&mut self, change: Change) -> Affected {
        // Of several IPv6 routes with the same metric the kernel replaces one, and does not say which.
        self.stale |= matches!(change, Change::Replacement(DefaultRoute { family: Family::V6, .. }));
        self.observed.apply(change)
    }

    /// Drops the notifications that have come: a dump that is made now contains their changes.
    pub fn prepare_dump(&mut self) {
        let _contained = self.monitor.read();
    }

    /// Replaces the observed state by a dump; returns what differed, or nothing if the dump failed.
    pub fn compare(&mut self, dump: Result<Observed, KernelError>) -> Option<Affected> {
        match dump {
            Ok(dumped) => {
                self.stale = false;
                let affected = self.observed.differences(&dumped);
                self.observed = dumped;
                Some(affected)
            }
            Err(error) => {
                tracing::warn!(op = "netlink", %error, "cannot read the kernel's tables");
                // The notifications that were dropped are lost.
                self.stale = true;
                self.observed.expect_nothing();
                None
            }
        }
    }
}
