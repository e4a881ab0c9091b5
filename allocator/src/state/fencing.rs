//! The writes of a new leader that void late writes of its predecessor.
//!
//! A write names the resource version that it was made for. After an unclean takeover, a write of the predecessor may
//! still be on its way. The new leader therefore writes to each Service that the predecessor may have been about to give
//! an address to: the resource version changes, and the late write fails. Nothing is allocated before all these writes
//! are answered.

use std::collections::BTreeSet;

use crate::model::{Scope, Service, ServiceName};

/// The fences of the present term.
#[derive(Debug, Default)]
pub(super) struct Fencing {
    /// The value to write. It differs from that of any other term of any process.
    value: String,
    open: BTreeSet<ServiceName>,
}

impl Fencing {
    /// A term begins with these Services to fence.
    pub(super) fn begin(&mut self, value: &str, services: BTreeSet<ServiceName>) {
        value.clone_into(&mut self.value);
        self.open = services;
    }

    /// The term is over.
    pub(super) fn end(&mut self) {
        self.open.clear();
    }

    /// The value of the annotation `leader-fence` in this term.
    pub(super) fn value(&self) -> &str {
        &self.value
    }

    /// Whether a fence is not answered yet.
    pub(super) fn is_active(&self) -> bool {
        !self.open.is_empty()
    }

    /// The Services whose fence is not answered yet.
    pub(super) const fn open(&self) -> &BTreeSet<ServiceName> {
        &self.open
    }

    /// The fence of a Service is answered, or the Service is gone.
    pub(super) fn close(&mut self, name: &ServiceName) {
        self.open.remove(name);
    }
}

/// Whether a new leader must fence the Service.
pub(super) fn needs_fence(service: &Service) -> bool {
    expects_address(service) || service.written.leader_fence
}

/// Whether the Service shows by itself that it may be about to get an address.
///
/// One that does not is marked with `leader-fence` before it gets an address. A new leader knows only the Service:
/// groups, nodes and other Services may have changed since the predecessor planned.
pub(super) fn expects_address(service: &Service) -> bool {
    let takes_more = service.scope == Scope::Ours && service.requested.multi_pool == Some(true);
    takes_more || service.is_waiting()
}
