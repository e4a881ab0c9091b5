//! The kernel's local addresses. What the protocol decides is carried out here and nowhere else.
//!
//! | Module | Holds |
//! |---|---|
//! | `holdings` | the addresses on interfaces for remote ones |
//! | `holding_changes` | what the kernel has that the protocol did not put there |
//! | `losses` | addresses that somebody else removed, and when that is reported |
//! | `notifications` | changes that the kernel reports |
//! | `writing` | adding addresses to the kernel and removing them |

mod holding_changes;
mod holdings;
mod losses;
mod notifications;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ownership::Epoch;
use runtime::BootTime;
use tokio::sync::mpsc;

use self::holdings::Holdings;
use super::interfaces::LocalInterfaces;
use super::messages::{Start, Update};
use crate::decide::interfaces::remote_links;
use crate::kernel::marks::marks_addresses;
use crate::kernel::netlink::error::KernelError;
use crate::kernel::netlink::monitor::Monitor;
use crate::kernel::netlink::requests::Kernel;
use crate::kernel::observer::Observer;
use crate::model::address::AddressKey;
use crate::model::observed::Observed;
use crate::model::operation::Operation;
use crate::model::ours::Ours;
use crate::model::placement::Placement;
use crate::model::writer::Writer;
use crate::plan::operations::{NO_ANCHORS, Plan};
use crate::plan::repair_limit::RepairLimit;
use crate::report::metrics::Metrics;

/// How often everything is compared with the kernel and lifetimes are renewed.
pub(super) const COMPARE: Duration = Duration::from_secs(30);

/// What the protocol must be told of the kernel.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Held addresses that are gone.
    pub lost: BTreeSet<IpAddr>,
    /// Interfaces, or addresses that are not ours, changed.
    pub interfaces: bool,
}

/// The local addresses as they should be and as they are.
pub(super) struct Table {
    kernel: Kernel,
    observer: Observer,
    marks_addresses: bool,
    interfaces: LocalInterfaces,
    /// The interfaces that this table must not touch.
    remote_links: BTreeSet<u32>,
    /// Addresses that are ours, also if the kernel could not mark them or somebody has taken the mark away.
    recorded: BTreeSet<AddressKey>,
    /// The placements of the addresses for which this node is a candidate.
    placements: BTreeMap<IpAddr, Placement>,
    /// The addresses that the protocol holds. The placement of an adopted one may not be known yet.
    owned: BTreeSet<IpAddr>,
    /// Those of them with a known placement.
    held: BTreeMap<IpAddr, Placement>,
    /// Held addresses that somebody else removed from the kernel and that have not been added again.
    missing: BTreeSet<IpAddr>,
    repair_limit: RepairLimit,
    /// Losses that are reported later, and when.
    postponed: BTreeMap<IpAddr, BootTime>,
    findings: Findings,
    holdings: Holdings,
    grace: u32,
    metrics: Metrics,
    updates: mpsc::UnboundedSender<Update>,
}

impl Table {
    /// Opens the sockets and reads what the kernel has; needs a tokio runtime.
    pub(super) fn open(
        start: &Start,
        metrics: Metrics,
        updates: mpsc::UnboundedSender<Update>,
    ) -> Result<Self, KernelError> {
        // Listen first, or what changes between the two would be missed.
        let monitor = Monitor::of_addresses()?;
        let mut kernel = Kernel::open()?;
        // Interfaces for remote addresses may have very many, and this table must not touch them.
        let remote = &start.interfaces.remote_links;
        let (marks_addresses, mut holdings) = (marks_addresses(), Holdings::default());
        let mut observed = kernel.dump_addresses(|_| true)?;
        holdings.split(&mut observed, |index| remote.contains(&index), marks_addresses);
        let mut table = Self {
            kernel,
            observer: Observer::new(monitor, observed),
            marks_addresses,
            interfaces: start.interfaces.clone(),
            remote_links: BTreeSet::new(),
            recorded: start.recorded.clone(),
            placements: BTreeMap::new(),
            owned: BTreeSet::new(),
            held: BTreeMap::new(),
            missing: BTreeSet::new(),
            repair_limit: RepairLimit::default(),
            postponed: BTreeMap::new(),
            findings: Findings::default(),
            holdings,
            grace: u32::try_from(start.stop_grace.as_secs()).unwrap_or(u32::MAX - 1),
            metrics,
            updates,
        };
        table.update_remote_links();
        Ok(table)
    }

    /// The kernel's state as last heard.
    pub(super) const fn observed(&self) -> &Observed {
        self.observer.observed()
    }

    /// Whether the observed state may differ from the kernel's.
    pub(super) const fn is_stale(&self) -> bool {
        self.observer.is_stale()
    }

    pub(super) const fn interfaces(&self) -> &LocalInterfaces {
        &self.interfaces
    }

    pub(super) fn set_interfaces(&mut self, interfaces: LocalInterfaces) {
        self.interfaces = interfaces;
        self.update_remote_links();
    }

    /// Determines the interfaces for remote addresses. One that has just appeared counts before the agent says so.
    fn update_remote_links(&mut self) {
        let mut links = remote_links(self.observed(), None, &self.interfaces.selection);
        links.extend(&self.interfaces.remote_links);
        if !self.remote_links.is_subset(&links) {
            // The addresses of an interface that was for remote ones until now are not known.
            self.observer.set_stale();
        }
        self.holdings.take(self.observer.observed_mut(), |index| links.contains(&index), self.marks_addresses);
        self.remote_links = links;
    }

    /// Which addresses in the kernel are ours.
    pub(super) const fn ours(&self) -> Ours<'_> {
        Ours::new(&self.recorded, self.marks_addresses)
    }

    /// Whether the kernel has the address there from us.
    fn has(&self, key: &AddressKey) -> bool {
        self.observed().addresses.get(key).is_some_and(|found| self.ours().includes(key, found))
    }

    /// Whether the protocol holds the address here.
    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        self.held.contains_key(&ip)
    }

    /// How many addresses the protocol holds here.
    pub(super) fn count(&self) -> usize {
        self.owned.len()
    }

    /// The addresses that the kernel has because of us, and those whose loss is reported later.
    pub(super) fn listed(&self) -> BTreeSet<IpAddr> {
        let held = self.held.iter().filter(|(ip, placement)| {
            self.observed().addresses.contains_key(&placement.key) || self.postponed.contains_key(*ip)
        });
        let held: Vec<IpAddr> = held.map(|(ip, _)| *ip).collect();
        self.plan().ours_in_kernel().chain(held).collect()
    }

    /// Takes over what an earlier run left in the kernel.
    ///
    /// `claimed` is what that run held. On a kernel that cannot mark addresses it may have ended before it was recorded
    /// that they are ours.
    pub(super) fn adopt(&mut self, claimed: &BTreeMap<IpAddr, Epoch>) -> BTreeSet<IpAddr> {
        if !self.marks_addresses {
            let held = self.observer.observed().addresses.iter().filter(|(key, found)| {
                claimed.contains_key(&key.ip) && found.valid.is_some() && !self.remote_links.contains(&key.index)
            });
            self.recorded.extend(held.map(|(key, _)| *key));
        }
        self.owned = self.listed();
        self.holdings.touch(&self.owned);
        self.owned.clone()
    }

    /// Waits until there may be notifications; [`Self::listen`] must follow.
    pub(super) async fn wait(&self) -> std::io::Result<()> {
        self.observer.wait().await
    }

    /// When a postponed loss is due.
    pub(super) fn wake(&self) -> Option<BootTime> {
        self.postponed.values().min().copied()
    }

    fn plan(&self) -> Plan<'_> {
        Plan {
            desired: &self.held,
            anchors: &NO_ANCHORS,
            observed: self.observed(),
            ours: self.ours(),
            remote_links: &self.remote_links,
            writer: Writer::Local,
            sweep: true,
            interval: u32::try_from(COMPARE.as_secs()).unwrap_or(30),
            now: BootTime::now(),
        }
    }

    /// Reads everything from the kernel and renews what runs out; returns whether it could be read.
    pub(super) fn compare(&mut self) -> bool {
        self.observer.prepare_dump();
        let mut dump = self.kernel.dump_addresses(|_| true);
        if let Ok(observed) = &mut dump {
            self.holdings.split(observed, |index| self.remote_links.contains(&index), self.marks_addresses);
        }
        let Some(affected) = self.observer.compare(dump) else {
            self.reopen();
            return false;
        };
        self.holdings.touch(&affected.addresses);
        self.findings.interfaces |= !affected.is_empty();
        self.update_remote_links();
        self.note_missing();
        let present = |(_, held): &(&IpAddr, &Placement)| self.has(&held.key);
        let held: Vec<IpAddr> = self.held.iter().filter(present).map(|(ip, _)| *ip).collect();
        let mut operations = self.plan().operations(held);
        let unplaced = |operation: &Operation| !self.held.contains_key(&operation.key().ip);
        operations.extend(self.plan().extensions(self.grace, true).into_iter().filter(unplaced));
        self.write(&operations);
        true
    }

    fn send(&self, update: Update) {
        // Without an agent that receives it the thread is about to end.
        let _ended = self.updates.send(update);
    }
}
