//! The agent: watches and the kernel in, one writer to the kernel out.
//!
//! One task owns everything but the local addresses. Whatever arrives is taken over at once; then a
//! pass looks at what it may concern, decides, plans, writes remote addresses to the kernel, and
//! reads back what the kernel then has. Local addresses are up to [`crate::local::thread`], which is told
//! what is wanted and says what it did.
//!
//! | Module | Holds |
//! |---|---|
//! | [`refresh`] | configuration, interfaces and subnets, when something about them changed |
//! | [`kernel`] | hear and compare what the kernel has, and call it |
//! | [`pass`] | decide, plan, write, read back |
//! | [`report`] | logs, events and metrics of what changed |
//! | `local` | the conversation with the protocol for local addresses |
//! | `circumstances` | what it is told of interfaces, configuration, members |
//! | `facts` | what it has to tell people |
//! | [`tell`] | annotations of Services |
//! | [`lifetime`] | start and stop: what happens to addresses without a picture of the cluster |

mod circumstances;
mod facts;
mod kernel;
mod lifetime;
mod local;
mod pass;
mod refresh;
mod report;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use runtime::events::EventQueue;
use runtime::server::Readiness;
use runtime::{BootTime, Task};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::local::Local;
use crate::cluster::configuration::{Mode, Notice};
use crate::cluster::input::{Input, Inputs};
use crate::cluster::store::Store;
use crate::decide::decision::Decision;
use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::kernel::netlink::error::KernelError;
use crate::kernel::netlink::monitor::Monitor;
use crate::kernel::netlink::requests::Kernel;
use crate::local::messages::Update;
use crate::model::observed::Observed;
use crate::model::operation::Failure;
use crate::model::placement::Placement;
use crate::model::writer::Writer;
use crate::plan::operations::Plan;
use crate::plan::record::Record;
use crate::plan::repair_limit::RepairLimit;
use crate::report::annotation_queue::AnnotationQueue;
use crate::report::lease::content::Content;
use crate::report::metrics::Metrics;
use crate::report::state::StateRequest;

/// What the agent is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of this node.
    pub node: String,
    /// How long addresses outlive this program.
    pub stop_grace: Duration,
    /// The directory of the record of addresses and of the claims.
    pub run_dir: PathBuf,
    /// UDP port of the gossip.
    pub gossip_port: u16,
    /// Between two questions to the link before a local address is claimed.
    pub probe_interval: Duration,
}

/// What the agent uses to reach the outside.
#[derive(Clone)]
pub struct Outside {
    /// The API server.
    pub client: Client,
    /// Where Kubernetes events go.
    pub events: EventQueue,
    /// The series.
    pub metrics: Metrics,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// Where inputs come from: for watches that start later.
    pub inputs: Inputs,
    /// What our Lease is to say.
    pub lease: watch::Sender<Option<Content>>,
}

/// What is known of one address.
#[derive(Debug)]
struct Status {
    decision: Decision,
    /// Since when the decision is as it is.
    since: Timestamp,
    /// Where it is in the kernel because of us.
    placed: Option<Placement>,
    /// The kernel has reported it there.
    seen: bool,
    /// What the kernel refused last, until it accepts, or the address does not belong here any more and is not here.
    failure: Option<Failure>,
}

/// An address whose operation failed is tried again.
#[derive(Debug, Clone, Copy)]
struct Retry {
    at: BootTime,
    failures: u32,
}

/// How often everything is compared with the kernel.
const COMPARE: Duration = Duration::from_secs(30);
/// The same while something is known to be missed.
const COMPARE_AGAIN: Duration = Duration::from_secs(1);
/// After how long it is tried again to make the dummy interface.
const DUMMY_RETRY: Duration = Duration::from_secs(30);
/// How often time itself is looked at: Leases that ran out, retries, lifetimes.
const TICK: Duration = Duration::from_millis(500);
/// Inputs taken over at once, before the kernel is looked at again.
const INPUTS_AT_ONCE: usize = 4096;

/// The agent.
pub struct Agent {
    settings: Settings,
    outside: Outside,
    cluster: Store,
    /// Nothing only while a thread uses it, or after it failed.
    kernel: Option<Kernel>,
    monitor: Monitor,
    observed: Observed,
    record: Record,
    mode: Mode,
    notices: BTreeSet<Notice>,
    selection: Selection,
    connected: Connected,
    dummy: Option<u32>,
    /// When it is tried again to make the dummy interface that is configured, or to set it up.
    dummy_retry: Option<BootTime>,
    interfaces_changed: bool,
    local: Local,
    /// The remote addresses.
    desired: BTreeMap<IpAddr, Placement>,
    status: BTreeMap<IpAddr, Status>,
    retries: BTreeMap<IpAddr, Retry>,
    repair_limit: RepairLimit,
    slots: AnnotationQueue,
    slot_write: Option<Task<bool>>,
    endpoint_watch: Option<Task>,
    compared: BootTime,
    /// The kernel said more than was heard.
    stale: bool,
    first_pass_done: bool,
}

impl Agent {
    /// Opens the sockets to the kernel and reads what it has.
    ///
    /// # Errors
    /// When the kernel refuses, most likely for want of `CAP_NET_ADMIN`.
    pub fn new(settings: Settings, outside: Outside) -> Result<Self, KernelError> {
        // Listen first, or what changes between the two would be missed.
        let monitor = Monitor::open()?;
        let mut kernel = Kernel::open()?;
        let observed = kernel.dump()?;
        let record = Record::load(&settings.run_dir);
        let cluster = Store::new(&settings.node);
        outside.metrics.announced.set_node(&settings.node);
        Ok(Self {
            settings,
            outside,
            cluster,
            kernel: Some(kernel),
            monitor,
            observed,
            record,
            mode: Mode::Deselected,
            notices: BTreeSet::new(),
            selection: Selection::default(),
            connected: Connected::default(),
            dummy: None,
            dummy_retry: None,
            interfaces_changed: true,
            local: Local::default(),
            desired: BTreeMap::new(),
            status: BTreeMap::new(),
            retries: BTreeMap::new(),
            repair_limit: RepairLimit::default(),
            slots: AnnotationQueue::default(),
            slot_write: None,
            endpoint_watch: None,
            compared: BootTime::now(),
            stale: false,
            first_pass_done: false,
        })
    }

    /// Works until the stop; ends before it only if the protocol for local addresses cannot run.
    pub async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut requests: mpsc::Receiver<StateRequest>,
        stop: CancellationToken,
    ) {
        self.hold().await;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = self.wake();
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = self.monitor.wait() => self.hear().await,
                Some(input) = inputs.recv() => self.take(input, &mut inputs),
                Some(answer) = requests.recv() => {
                    self.report_state(answer);
                }
                report = self.local.next() => match report {
                    Some(report) => self.handle_updates(report),
                    None => return,
                },
                _ = tick.tick() => self.tick().await,
                () = tokio::time::sleep_until(wake) => {}
                written = written(&mut self.slot_write) => self.slot_written(written),
            }
            self.pass().await;
            if self.local.has_failed() {
                return;
            }
            self.tell();
        }
        self.stop().await;
    }

    /// When there is something to do or to tell; a day from now if nothing.
    fn wake(&self) -> Instant {
        // A pass leaves work behind when the kernel reported something while it wrote.
        if self.first_pass_done && (self.cluster.is_dirty() || self.interfaces_changed) {
            return Instant::now();
        }
        let now = BootTime::now();
        let due = self.slots.wake();
        Instant::now() + due.map_or(Duration::from_secs(86_400), |due| due.since(now))
    }

    fn take(&mut self, first: Input, inputs: &mut mpsc::Receiver<Input>) {
        let (now, wall) = (BootTime::now(), Timestamp::now());
        self.cluster.apply(first, now, wall);
        for _ in 0..INPUTS_AT_ONCE {
            let Ok(input) = inputs.try_recv() else { return };
            self.cluster.apply(input, now, wall);
        }
    }

    fn handle_updates(&mut self, first: Update) {
        self.handle_update(first);
        for _ in 0..INPUTS_AT_ONCE {
            let Some(report) = self.local.try_next() else { return };
            self.handle_update(report);
        }
    }

    async fn tick(&mut self) {
        let now = BootTime::now();
        self.cluster.expire(now);
        self.hand_over_ends(now);
        self.note_exclusion(now);
        let due: Vec<IpAddr> = self.retries.iter().filter(|(_, retry)| retry.at <= now).map(|(ip, _)| *ip).collect();
        self.cluster.mark(due);
        if now.since(self.compared) >= if self.stale { COMPARE_AGAIN } else { COMPARE } {
            self.compare().await;
            if self.cluster.missing().is_some() {
                self.hold().await;
            }
        }
        self.interfaces_changed |= self.dummy_retry.is_some_and(|at| at <= now);
        if let Err(error) = self.record.save() {
            tracing::warn!(op = "record", %error, "cannot record which addresses are ours");
        }
    }

    fn plan(&self, now: BootTime) -> Plan<'_> {
        Plan {
            desired: &self.desired,
            observed: &self.observed,
            recorded: self.record.keys(),
            node_addresses: self.node_addresses(),
            remote_links: self.local.remote_links(),
            writer: if self.local.is_running() { Writer::Remote } else { Writer::Sole },
            sweep: self.cluster.missing().is_none(),
            interval: u32::try_from(COMPARE.as_secs()).unwrap_or(30),
            now,
        }
    }

    fn node_addresses(&self) -> &BTreeSet<IpAddr> {
        static NONE: BTreeSet<IpAddr> = BTreeSet::new();
        self.cluster.node.as_ref().map_or(&NONE, |node| &node.addresses)
    }
}

/// The outcome of the write under way; never, if there is none.
async fn written(write: &mut Option<Task<bool>>) -> bool {
    match write {
        Some(task) => task.join().await.unwrap_or(false),
        None => std::future::pending().await,
    }
}
