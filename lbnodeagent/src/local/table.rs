//! The kernel's local addresses: what the protocol decided is carried out here, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;
use ownership::{Epoch, NodeId};
use runtime::BootTime;
use tokio::sync::mpsc;

use super::{Placed, Report, Scope, Start};
use crate::desired::Placement;
use crate::interfaces::remote_links;
use crate::metrics::Metrics;
use crate::netlink::{BATCH, Heard, Kernel, KernelError, Monitor, marks_addresses};
use crate::observed::{AddressKey, Change, MARK, Observed};
use crate::reconcile::{Operation, Plan, Side, Why};
use crate::restraint::Restraint;

/// How often everything is compared with the kernel, and lifetimes are renewed.
pub(super) const COMPARE: Duration = Duration::from_secs(30);

/// What the kernel did of its own, or by somebody else's hand.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Addresses that we hold and that are gone.
    pub lost: BTreeSet<IpAddr>,
    /// Interfaces, routes, or addresses that are not ours changed.
    pub interfaces: bool,
    /// Something is not as we believe: the kernel must be read anew.
    pub unsure: bool,
}

/// The local addresses, as they should be and as they are.
pub(super) struct Table {
    kernel: Kernel,
    monitor: Monitor,
    observed: Observed,
    scope: Scope,
    /// The interfaces that are not ours to touch.
    remote_links: BTreeSet<u32>,
    /// Ours, though the kernel could not mark them.
    recorded: BTreeSet<AddressKey>,
    /// Where the addresses go that this node takes part in.
    places: BTreeMap<IpAddr, Placement>,
    /// Those that the protocol holds; some may be adopted and their place not known yet.
    ours: BTreeSet<IpAddr>,
    /// Those of them whose place is known.
    held: BTreeMap<IpAddr, Placement>,
    /// Those that somebody else took out of the kernel.
    missing: BTreeSet<IpAddr>,
    restraint: Restraint,
    /// Losses that are told later.
    later: BTreeMap<IpAddr, BootTime>,
    news: News,
    grace: u32,
    metrics: Metrics,
    reports: mpsc::UnboundedSender<Report>,
}

impl Table {
    /// Listens to the kernel and reads what it has; needs a tokio runtime.
    pub(super) fn open(
        start: &Start,
        metrics: Metrics,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<Self, KernelError> {
        // Listen first, or what changes between the two would be missed.
        let monitor = Monitor::of_addresses()?;
        let mut kernel = Kernel::open()?;
        let observed = kernel.dump_addresses()?;
        let mut table = Self {
            kernel,
            monitor,
            observed,
            scope: start.scope.clone(),
            remote_links: BTreeSet::new(),
            recorded: start.recorded.clone(),
            places: BTreeMap::new(),
            ours: BTreeSet::new(),
            held: BTreeMap::new(),
            missing: BTreeSet::new(),
            restraint: Restraint::default(),
            later: BTreeMap::new(),
            news: News::default(),
            grace: u32::try_from(start.stop_grace.as_secs()).unwrap_or(u32::MAX - 1),
            metrics,
            reports,
        };
        table.note_remote_links();
        Ok(table)
    }

    /// What the kernel has.
    pub(super) const fn observed(&self) -> &Observed {
        &self.observed
    }

    pub(super) const fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn set_scope(&mut self, scope: Scope) {
        self.scope = scope;
        self.note_remote_links();
    }

    /// An interface of that kind which has just appeared is not ours either, before the agent has said so.
    fn note_remote_links(&mut self) {
        self.remote_links = remote_links(&self.observed, None, &self.scope.selection);
        self.remote_links.extend(&self.scope.remote_links);
    }

    /// Whether an address is an announced one, which makes no interface part of a network.
    pub(super) fn is_vip(&self, key: &AddressKey, mark: Option<u8>) -> bool {
        mark == Some(MARK) || self.recorded.contains(key)
    }

    /// Whether the protocol holds the address here.
    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        self.held.contains_key(&ip)
    }

    /// How many addresses the protocol holds here.
    pub(super) fn count(&self) -> usize {
        self.ours.len()
    }

    /// The addresses that the kernel has because of us.
    pub(super) fn listed(&self) -> BTreeSet<IpAddr> {
        let held = self.held.iter().filter(|(_, placement)| self.observed.addresses.contains_key(&placement.key));
        let held: Vec<IpAddr> = held.map(|(ip, _)| *ip).collect();
        self.plan().ours_in_kernel().chain(held).collect()
    }

    /// What an earlier run left in the kernel is ours. `claimed` is what that run held: on kernels that cannot mark
    /// addresses it may have ended before it was recorded that they are ours.
    pub(super) fn adopt(&mut self, claimed: &BTreeMap<IpAddr, Epoch>) -> BTreeSet<IpAddr> {
        if !marks_addresses() {
            let held = self.observed.addresses.iter().filter(|(key, found)| {
                claimed.contains_key(&key.ip) && found.valid.is_some() && !self.remote_links.contains(&key.index)
            });
            self.recorded.extend(held.map(|(key, _)| *key).collect::<Vec<_>>());
        }
        self.ours = self.listed();
        self.ours.clone()
    }

    /// Waits until the kernel has something to say; [`Self::hear`] must follow.
    pub(super) async fn wait(&self) -> std::io::Result<()> {
        self.monitor.wait().await
    }

    /// When a loss is to be told that was put off.
    pub(super) fn wake(&self) -> Option<BootTime> {
        self.later.values().min().copied()
    }

    /// Takes over what the kernel reports.
    pub(super) fn hear(&mut self) {
        let Heard { changes, lost } = self.monitor.hear();
        self.news.unsure |= lost;
        let mut gone = BTreeSet::new();
        let mut touched = BTreeSet::new();
        for change in changes {
            if let Change::NoAddress(key) = &change
                && self.held.get(&key.ip).is_some_and(|placement| placement.key == *key)
            {
                gone.insert(key.ip);
            }
            if let Change::NoLink(index) = &change {
                gone.extend(self.held.iter().filter(|(_, held)| held.key.index == *index).map(|(ip, _)| *ip));
            }
            let stray = match &change {
                Change::Address(key, found) => {
                    !self.ours.contains(&key.ip) && found.mark == Some(MARK) && !self.remote_links.contains(&key.index)
                }
                _ => false,
            };
            // It was reported after we had deleted it, or somebody else uses our mark.
            self.news.unsure |= stray;
            let changes = self.observed.apply(change);
            if changes.links {
                self.note_remote_links();
                self.news.interfaces = true;
            }
            for ip in changes.addresses {
                if self.ours.contains(&ip) {
                    touched.insert(ip);
                } else {
                    self.news.interfaces = true;
                }
            }
        }
        let now = BootTime::now();
        for ip in gone {
            let Some(placement) = self.held.get(&ip) else { continue };
            if self.observed.addresses.contains_key(&placement.key) {
                continue;
            }
            match self.restraint.until(ip, now) {
                Some(at) => drop(self.later.insert(ip, at)),
                None => drop(self.news.lost.insert(ip)),
            }
        }
        // Somebody changed one of ours: it gets its attributes back.
        touched.retain(|ip| {
            self.held.get(ip).is_some_and(|held| self.observed.addresses.contains_key(&held.key))
                && self.restraint.until(*ip, now).is_none()
        });
        let operations = self.plan().operations(touched);
        for operation in &operations {
            self.restraint.repaired(operation.key().ip, now);
        }
        self.write(&operations);
    }

    /// What happened since the last call.
    pub(super) fn news(&mut self) -> News {
        let now = BootTime::now();
        let due: Vec<IpAddr> = self.later.iter().filter(|(_, at)| **at <= now).map(|(ip, _)| *ip).collect();
        for ip in due {
            self.later.remove(&ip);
            let gone = self.held.get(&ip).is_some_and(|held| !self.observed.addresses.contains_key(&held.key));
            if gone {
                self.news.lost.insert(ip);
            }
        }
        let news = std::mem::take(&mut self.news);
        self.missing.extend(news.lost.iter().copied());
        news
    }

    fn plan(&self) -> Plan<'_> {
        Plan {
            wanted: &self.held,
            observed: &self.observed,
            recorded: &self.recorded,
            node_addresses: &self.scope.node_addresses,
            remote_links: &self.remote_links,
            side: Side::Local,
            sweep: true,
            interval: u32::try_from(COMPARE.as_secs()).unwrap_or(30),
            now: BootTime::now(),
        }
    }

    /// The place of an address that this node takes part in; if it is here already, it becomes as it should be.
    /// Returns whether the kernel refused that.
    pub(super) fn place(&mut self, placement: Placement) -> bool {
        let ip = placement.key.ip;
        self.places.insert(ip, placement);
        let here = self.ours.contains(&ip) && self.held.get(&ip) != Some(&placement);
        here && !self.add(&[ip], &BTreeMap::new()).is_empty()
    }

    /// This node takes no part in the address any more.
    pub(super) fn forget(&mut self, ip: IpAddr) {
        self.places.remove(&ip);
    }

    /// Puts addresses into the kernel; returns those that it refused. `from` says who had them before.
    pub(super) fn add(&mut self, addresses: &[IpAddr], from: &BTreeMap<IpAddr, NodeId>) -> Vec<IpAddr> {
        self.ours.extend(addresses);
        let failed = self.put(addresses, from);
        // The protocol has them taken out then, for a part may have been done.
        failed
    }

    fn put(&mut self, addresses: &[IpAddr], from: &BTreeMap<IpAddr, NodeId>) -> Vec<IpAddr> {
        let now = BootTime::now();
        let mut failed = Vec::new();
        for ip in addresses {
            match self.places.get(ip) {
                Some(placement) => drop(self.held.insert(*ip, *placement)),
                // The protocol holds nothing that it was not asked to.
                None => failed.push(*ip),
            }
        }
        let operations = self.plan().operations(addresses.iter().copied().filter(|ip| self.held.contains_key(ip)));
        let (done, refused) = self.write(&operations);
        for ip in addresses {
            let Some(placement) = self.held.get(ip).copied() else { continue };
            if let Some(errno) = refused.get(ip) {
                self.report(Report::Failed(placement.key, *errno));
                failed.push(*ip);
                continue;
            }
            let repaired = self.missing.remove(ip);
            if repaired {
                self.restraint.repaired(*ip, now);
            }
            let why = done.get(ip).copied();
            self.report(Report::Placed(Placed { placement, why, repaired, from: from.get(ip).cloned() }));
        }
        failed
    }

    /// Takes addresses out of the kernel.
    pub(super) fn remove(&mut self, addresses: &[IpAddr]) {
        let mut keys = Vec::new();
        for ip in addresses {
            self.ours.remove(ip);
            self.missing.remove(ip);
            self.later.remove(ip);
            keys.extend(self.held.remove(ip).map(|placement| placement.key));
        }
        let mut operations = self.plan().operations(addresses.iter().copied());
        // The kernel reports a new IPv6 address some time after it has it.
        let planned: BTreeSet<AddressKey> = operations.iter().map(|operation| *operation.key()).collect();
        let unseen = keys.iter().filter(|key| !planned.contains(key) && !self.observed.addresses.contains_key(key));
        operations.extend(unseen.map(|key| Operation::Delete(*key)).collect::<Vec<_>>());
        let (_, refused) = self.write(&operations);
        self.news.unsure |= !refused.is_empty();
        for key in keys {
            if let Some(errno) = refused.get(&key.ip) {
                self.report(Report::Failed(key, *errno));
            }
            self.report(Report::Withdrawn(key));
        }
    }

    /// What earlier runs left lives on until it is known what the cluster wants.
    pub(super) fn extend(&mut self) {
        let operations = self.plan().extensions(self.grace, true);
        self.write(&operations);
    }

    /// Reads everything from the kernel, and renews what runs out; returns whether that was possible.
    pub(super) fn compare(&mut self) -> bool {
        // Everything that is announced before the dump is in it.
        let _announced = self.monitor.hear();
        match self.kernel.dump_addresses() {
            Ok(observed) => {
                self.news.interfaces |= !self.observed.differences(&observed).is_empty();
                self.observed = observed;
                self.note_remote_links();
            }
            Err(error) => {
                tracing::warn!(op = "netlink", %error, "cannot read the kernel's tables");
                self.reopen();
                return false;
            }
        }
        let gone = self.held.iter().filter(|(_, held)| !self.observed.addresses.contains_key(&held.key));
        self.missing.extend(gone.map(|(ip, _)| *ip).collect::<Vec<_>>());
        let present = |(_, held): &(&IpAddr, &Placement)| self.observed.addresses.contains_key(&held.key);
        let held: Vec<IpAddr> = self.held.iter().filter(present).map(|(ip, _)| *ip).collect();
        let mut operations = self.plan().operations(held);
        let unplaced = |operation: &Operation| !self.held.contains_key(&operation.key().ip);
        operations.extend(self.plan().extensions(self.grace, true).into_iter().filter(unplaced));
        self.write(&operations);
        true
    }

    fn write(&mut self, operations: &[Operation]) -> (BTreeMap<IpAddr, Why>, BTreeMap<IpAddr, Errno>) {
        let (mut done, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for batch in operations.chunks(BATCH) {
            let results = self.kernel.apply(batch).unwrap_or_else(|error| {
                tracing::error!(op = "netlink", %error, "cannot write local addresses");
                self.reopen();
                vec![Err(Errno::EIO); batch.len()]
            });
            for (operation, result) in batch.iter().zip(results) {
                self.metrics.count_operation(operation, result);
                match (operation, result) {
                    (operation, Err(errno)) => drop(failed.insert(operation.key().ip, errno)),
                    (Operation::Put(entry, why), Ok(())) => {
                        done.entry(entry.key.ip).or_insert(*why);
                    }
                    (Operation::Delete(key), Ok(())) => drop(self.recorded.remove(key)),
                }
            }
            self.settle(batch);
        }
        (done, failed)
    }

    /// Takes over what our own writing changed, so that it is not mistaken for somebody else's.
    fn settle(&mut self, batch: &[Operation]) {
        let Heard { changes, lost } = self.monitor.hear();
        self.news.unsure |= lost;
        let own: BTreeSet<IpAddr> = batch.iter().map(|operation| operation.key().ip).collect();
        let mut gone = Vec::new();
        for change in changes {
            if let Change::NoAddress(key) = change
                && !batch.contains(&Operation::Delete(key))
            {
                gone.push(key);
            }
            let changes = self.observed.apply(change);
            if changes.links {
                self.note_remote_links();
            }
            let foreign = changes.addresses.iter().any(|ip| !own.contains(ip));
            self.news.interfaces |= changes.links || foreign;
        }
        // Whoever took it out was faster than this look.
        gone.retain(|key| {
            self.held.get(&key.ip).is_some_and(|held| held.key == *key) && !self.observed.addresses.contains_key(key)
        });
        self.later.extend(gone.into_iter().map(|key| (key.ip, BootTime::now())));
        for operation in batch {
            if let Operation::Put(entry, _) = operation
                && self.observed.addresses.get(&entry.key).is_some_and(|found| found.mark != Some(MARK))
            {
                self.recorded.insert(entry.key);
            }
        }
    }

    /// After a failure of the socket nobody knows which answers are still to come.
    fn reopen(&mut self) {
        match Kernel::open() {
            Ok(kernel) => self.kernel = kernel,
            Err(error) => tracing::error!(op = "netlink", %error, "cannot open a socket to the kernel"),
        }
    }

    fn report(&self, report: Report) {
        // Without an agent to tell, the thread is about to end.
        let _ended = self.reports.send(report);
    }
}
