//! The kernel's local addresses: what the protocol decided is carried out here, and nowhere else.
//!
//! | Module | Holds |
//! |---|---|
//! | `hearing` | what the kernel updates |
//! | `writing` | putting addresses there and taking them out |

mod hearing;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ownership::Epoch;
use runtime::BootTime;
use tokio::sync::mpsc;

use super::interfaces::LocalInterfaces;
use super::messages::{Start, Update};
use crate::decide::interfaces::remote_links;
use crate::kernel::marks::marks_addresses;
use crate::kernel::netlink::error::KernelError;
use crate::kernel::netlink::monitor::Monitor;
use crate::kernel::netlink::requests::Kernel;
use crate::model::address::{AddressKey, MARK};
use crate::model::observed::Observed;
use crate::model::operation::Operation;
use crate::model::placement::Placement;
use crate::model::writer::Writer;
use crate::plan::operations::Plan;
use crate::plan::repair_limit::RepairLimit;
use crate::report::metrics::Metrics;

/// How often everything is compared with the kernel, and lifetimes are renewed.
pub(super) const COMPARE: Duration = Duration::from_secs(30);

/// What the kernel did of its own, or by somebody else's hand.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Addresses that we hold and that are gone.
    pub lost: BTreeSet<IpAddr>,
    /// Interfaces, routes, or addresses that are not ours changed.
    pub interfaces: bool,
    /// Something is not as we believe: the kernel must be read anew.
    pub stale: bool,
}

/// The local addresses, as they should be and as they are.
pub(super) struct Table {
    kernel: Kernel,
    monitor: Monitor,
    observed: Observed,
    interfaces: LocalInterfaces,
    /// The interfaces that are not ours to touch.
    remote_links: BTreeSet<u32>,
    /// Ours, though the kernel could not mark them.
    recorded: BTreeSet<AddressKey>,
    /// Where the addresses go that this node takes part in.
    placements: BTreeMap<IpAddr, Placement>,
    /// Those that the protocol holds; some may be adopted and their place not known yet.
    ours: BTreeSet<IpAddr>,
    /// Those of them whose place is known.
    held: BTreeMap<IpAddr, Placement>,
    /// Those that somebody else took out of the kernel.
    missing: BTreeSet<IpAddr>,
    repair_limit: RepairLimit,
    /// Losses that are told later.
    later: BTreeMap<IpAddr, BootTime>,
    findings: Findings,
    grace: u32,
    metrics: Metrics,
    updates: mpsc::UnboundedSender<Update>,
}

impl Table {
    /// Listens to the kernel and reads what it has; needs a tokio runtime.
    pub(super) fn open(
        start: &Start,
        metrics: Metrics,
        updates: mpsc::UnboundedSender<Update>,
    ) -> Result<Self, KernelError> {
        // Listen first, or what changes between the two would be missed.
        let monitor = Monitor::of_addresses()?;
        let mut kernel = Kernel::open()?;
        // The addresses of interfaces for remote ones, of which there may be very many, are none of our business.
        let remote = &start.interfaces.remote_links;
        let observed = kernel.dump_addresses(|index| !remote.contains(&index))?;
        let mut table = Self {
            kernel,
            monitor,
            observed,
            interfaces: start.interfaces.clone(),
            remote_links: BTreeSet::new(),
            recorded: start.recorded.clone(),
            placements: BTreeMap::new(),
            ours: BTreeSet::new(),
            held: BTreeMap::new(),
            missing: BTreeSet::new(),
            repair_limit: RepairLimit::default(),
            later: BTreeMap::new(),
            findings: Findings::default(),
            grace: u32::try_from(start.stop_grace.as_secs()).unwrap_or(u32::MAX - 1),
            metrics,
            updates,
        };
        table.note_remote_links();
        Ok(table)
    }

    /// What the kernel has.
    pub(super) const fn observed(&self) -> &Observed {
        &self.observed
    }

    pub(super) const fn interfaces(&self) -> &LocalInterfaces {
        &self.interfaces
    }

    pub(super) fn set_interfaces(&mut self, interfaces: LocalInterfaces) {
        self.interfaces = interfaces;
        self.note_remote_links();
    }

    /// An interface of that kind which has just appeared is not ours either, before the agent has said so.
    fn note_remote_links(&mut self) {
        let mut links = remote_links(&self.observed, None, &self.interfaces.selection);
        links.extend(&self.interfaces.remote_links);
        // What is on one that counts again is not known.
        self.findings.stale |= !self.remote_links.is_subset(&links);
        self.observed.addresses.retain(|key, _| !links.contains(&key.index));
        self.remote_links = links;
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

    /// The addresses that the kernel has because of us, and those whose loss is to be told later.
    pub(super) fn listed(&self) -> BTreeSet<IpAddr> {
        let held = self.held.iter().filter(|(ip, placement)| {
            self.observed.addresses.contains_key(&placement.key) || self.later.contains_key(*ip)
        });
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

    fn plan(&self) -> Plan<'_> {
        Plan {
            desired: &self.held,
            observed: &self.observed,
            recorded: &self.recorded,
            node_addresses: &self.interfaces.node_addresses,
            remote_links: &self.remote_links,
            writer: Writer::Local,
            sweep: true,
            interval: u32::try_from(COMPARE.as_secs()).unwrap_or(30),
            now: BootTime::now(),
        }
    }

    /// Reads everything from the kernel, and renews what runs out; returns whether that was possible.
    pub(super) fn compare(&mut self) -> bool {
        // Everything that is announced before the dump is in it.
        let _announced = self.monitor.hear();
        let remote = &self.remote_links;
        match self.kernel.dump_addresses(|index| !remote.contains(&index)) {
            Ok(observed) => {
                self.findings.interfaces |= !self.observed.differences(&observed).is_empty();
                self.observed = observed;
                self.note_remote_links();
            }
            Err(error) => {
                tracing::warn!(op = "netlink", %error, "cannot read the kernel's tables");
                self.reopen();
                return false;
            }
        }
        self.miss();
        let present = |(_, held): &(&IpAddr, &Placement)| self.observed.addresses.contains_key(&held.key);
        let held: Vec<IpAddr> = self.held.iter().filter(present).map(|(ip, _)| *ip).collect();
        let mut operations = self.plan().operations(held);
        let unplaced = |operation: &Operation| !self.held.contains_key(&operation.key().ip);
        operations.extend(self.plan().extensions(self.grace, true).into_iter().filter(unplaced));
        self.write(&operations);
        true
    }

    fn update(&self, update: Update) {
        // Without an agent to tell, the thread is about to end.
        let _ended = self.updates.send(update);
    }
}
