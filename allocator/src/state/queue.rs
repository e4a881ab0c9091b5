//! The Services to plan next, those that wait for something, and clean-ups.

use std::collections::{BTreeSet, VecDeque};

use crate::model::{Leftover, ServiceName};

/// The work of a leader.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    order: VecDeque<ServiceName>,
    /// The members of `order`.
    queued: BTreeSet<ServiceName>,
    /// Services that are planned again when something changes that they may wait for.
    waiting: BTreeSet<ServiceName>,
    retry: bool,
    clean_ups: VecDeque<Leftover>,
}

impl WorkQueue {
    /// Adds a Service, unless it is queued already.
    pub(super) fn push(&mut self, name: &ServiceName) {
        if self.queued.insert(name.clone()) {
            self.order.push_back(name.clone());
        }
    }

    /// Adds a Service before all others.
    pub(super) fn push_first(&mut self, name: &ServiceName) {
        if !self.queued.insert(name.clone()) {
            self.order.retain(|queued| queued != name);
        }
        self.order.push_front(name.clone());
    }

    /// Removes the next Service.
    pub(super) fn pop(&mut self) -> Option<ServiceName> {
        let name = self.order.pop_front()?;
        self.queued.remove(&name);
        Some(name)
    }

    /// The number of Services to plan.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Notes whether a Service waits for something.
    pub(super) fn set_waiting(&mut self, name: &ServiceName, waits: bool) {
        if waits {
            self.waiting.insert(name.clone());
        } else {
            self.waiting.remove(name);
        }
    }

    /// The Services that wait for something.
    pub(super) const fn waiting(&self) -> &BTreeSet<ServiceName> {
        &self.waiting
    }

    /// Something has happened that waiting Services may wait for.
    pub(super) const fn request_retry(&mut self) {
        self.retry = true;
    }

    /// Whether a retry was requested.
    pub(super) const fn wants_retry(&self) -> bool {
        self.retry
    }

    /// The retry begins.
    pub(super) const fn retry_begins(&mut self) {
        self.retry = false;
    }

    /// Adds a clean-up.
    pub(super) fn push_clean_up(&mut self, leftover: Leftover) {
        self.clean_ups.push_back(leftover);
    }

    /// Removes the next clean-up.
    pub(super) fn pop_clean_up(&mut self) -> Option<Leftover> {
        self.clean_ups.pop_front()
    }

    /// Drops all work.
    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.queued.clear();
        self.waiting.clear();
        self.clean_ups.clear();
    }
}
