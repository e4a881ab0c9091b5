//! The desired remote addresses, and applying a plan for them to the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use nix::errno::Errno;
use runtime::BootTime;

use crate::kernel::host::Host;
use crate::model::observed::Affected;
use crate::model::operation::{Failure, Operation, Purpose};
use crate::model::placement::Placement;
use crate::plan::record::Record;
use crate::plan::repair_limit::RepairLimit;
use crate::plan::retries::Retries;
use crate::remote::aggregates::Aggregates;
use crate::report::metrics::Metrics;

/// The remote addresses of this node.
#[derive(Debug, Default)]
pub struct Remote {
    desired: BTreeMap<IpAddr, Placement>,
    aggregates: Aggregates,
    /// Those whose operation failed.
    pub retries: Retries,
    /// Those that somebody keeps removing.
    pub repair_limit: RepairLimit,
}

/// The outcome of a plan.
#[derive(Debug, Default)]
pub struct Written {
    /// The addresses that were put, and for which purpose.
    pub done: BTreeMap<IpAddr, Purpose>,
    /// The addresses with a refused operation.
    pub failed: BTreeMap<IpAddr, Failure>,
    /// What the notifications meanwhile affect.
    pub affected: Affected,
}

impl Remote {
    /// Where the addresses of Services should be.
    #[must_use]
    pub const fn desired(&self) -> &BTreeMap<IpAddr, Placement> {
        &self.desired
    }

    /// Where the anchors of aggregates should be.
    #[must_use]
    pub const fn anchors(&self) -> &BTreeMap<IpAddr, Placement> {
        self.aggregates.anchors()
    }

    /// Every place where the kernel should have an address.
    pub fn wanted(&self) -> impl Iterator<Item = Placement> {
        let desired = self.desired.values();
        desired
            .flat_map(|placement| [Some(*placement), placement.aggregate_beside()])
            .flatten()
            .chain(self.anchors().values().copied())
    }

    /// Sets where the address of a Service should be; returns the anchors of aggregates that change with it.
    pub fn set(&mut self, ip: IpAddr, placement: Option<Placement>) -> BTreeSet<IpAddr> {
        let before = match placement {
            Some(placement) => self.desired.insert(ip, placement),
            None => self.desired.remove(&ip),
        };
        if before == placement {
            return BTreeSet::new();
        }
        self.aggregates.update(ip, before.as_ref(), &self.desired)
    }

    /// No address should be here any more.
    pub fn clear(&mut self) {
        self.desired.clear();
        self.aggregates = Aggregates::default();
    }

    /// Leaves out the desired addresses that have been repaired too often; they are tried again later.
    #[must_use]
    pub fn without_limited(&mut self, mut addresses: BTreeSet<IpAddr>, now: BootTime) -> BTreeSet<IpAddr> {
        addresses.retain(|ip| match self.repair_limit.until(*ip, now) {
            Some(at) if self.desired.contains_key(ip) || self.anchors().contains_key(ip) => {
                self.retries.postpone(*ip, at);
                false
            }
            _ => true,
        });
        addresses
    }
}

/// Applies operations on remote addresses.
pub async fn apply(host: &mut Host, record: &mut Record, metrics: &Metrics, operations: Vec<Operation>) -> Written {
    let mut written = Written::default();
    if operations.is_empty() {
        return written;
    }
    for operation in &operations {
        if let Operation::Put(entry, Purpose::Add | Purpose::Restore) = operation {
            host.observed_mut().expect(entry.key);
        }
    }
    let operations: Arc<[Operation]> = operations.into();
    let shared = Arc::clone(&operations);
    let (results, affected) = host.call_and_listen(move |kernel| kernel.apply(&shared)).await;
    written.affected = affected;
    let results = results.unwrap_or_else(|error| {
        tracing::error!(op = "netlink", %error, "cannot write addresses");
        vec![Err(Errno::EIO); operations.len()]
    });
    for (operation, result) in operations.iter().zip(results) {
        metrics.count_operation(operation, result);
        match (operation, result) {
            (operation, Err(errno)) => {
                host.observed_mut().expect_no_more(operation.key());
                written.failed.insert(operation.key().ip, Failure::of(operation, errno));
            }
            (Operation::Put(entry, purpose), Ok(())) => {
                written.done.entry(entry.key.ip).or_insert(*purpose);
            }
            (Operation::Delete(key), Ok(())) => record.remove(key),
        }
    }
    written
}
