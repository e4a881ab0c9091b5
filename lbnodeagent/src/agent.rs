//! The agent: the loop around everything else.
//!
//! One task owns everything but the local addresses. Whatever arrives is taken over at once. Then a pass decides about
//! the addresses that it may concern, plans, applies the plan for remote addresses, and reads back what the kernel then
//! has. Local addresses are the task of [`crate::local`], which is sent this node's candidacies and reports what it did.
//!
//! | Module | Holds |
//! |---|---|
//! | `reporting` | what is reported of addresses beside their state: in the Lease and about traffic policies |
//! | `pass` | one pass: decide, plan, apply, take over the outcome |
//! | `configuration` | configuration, interfaces and subnets |
//! | `kernel` | changes in the kernel, and what they concern |
//! | `guard` | the VIP guard, and kube-proxy |
//! | `protocol` | what the protocol for local addresses is sent |
//! | `updates` | what it reports |
//! | `source` | whether the kernel gives an address of ours to the node's own packets |
//! | `routers` | what the task for BFD is told |
//! | `queries` | answers for `/state` |
//! | `start_and_stop` | start and stop: addresses while nobody knows what the cluster wants |

mod configuration;
mod guard;
mod kernel;
mod pass;
mod protocol;
mod queries;
mod reporting;
mod routers;
mod source;
mod start_and_stop;
mod updates;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use api_types::names::reason;
use jiff::Timestamp;
use kube::Client;
use runtime::events::EventQueue;
use runtime::server::Readiness;
use runtime::{BootTime, Task};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::bfd::settings::Handle;
use crate::cluster::configuration::{Mode, Notice};
use crate::cluster::input::{Input, Inputs};
use crate::cluster::service::ServiceView;
use crate::cluster::store::Store;
use crate::decide::interfaces::Selection;
use crate::decide::networks::Connected;
use crate::decide::rights::is_given;
use crate::guard::Guard;
use crate::kernel::host::Host;
use crate::kernel::marks::marks_addresses;
use crate::kernel::netlink::error::KernelError;
use crate::kube_proxy::task::Ports;
use crate::local::handle::Local;
use crate::local::messages::Update;
use crate::model::ours::Ours;
use crate::model::uids::Uids;
use crate::model::writer::Writer;
use crate::plan::holders::Holders;
use crate::plan::interfaces::InterfaceRecord;
use crate::plan::operations::Plan;
use crate::plan::record::Record;
use crate::remote::addresses::Remote;
use crate::remote::dummy::Dummy;
use crate::report::agent_status_writer::AgentStatusWriter;
use crate::report::annotation::Role;
use crate::report::annotation_writer::AnnotationWriter;
use crate::report::lease::content::Content;
use crate::report::lease::entries::Entries;
use crate::report::metrics::Metrics;
use crate::report::node_problems::NodeProblems;
use crate::report::reporter::Reporter;
use crate::report::state::StateRequest;
use crate::report::status::Status;
use crate::report::traffic_policy::PolicyReport;

/// What the agent is given at its start.
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
    /// The time between two probes before a local address is claimed.
    pub probe_interval: Duration,
    /// Probes and announcements that takeovers send on an interface in any second, at most.
    pub frames_per_second: u32,
    /// The ports of kube-proxy.
    pub kube_proxy: Ports,
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
    /// What this node's Lease is to say.
    pub lease: watch::Sender<Option<Content>>,
    /// What it is to say of addresses that are refused or held.
    pub entries: watch::Sender<Entries>,
    /// The task for BFD.
    pub bfd: Handle,
}

/// How often everything is compared with the kernel.
const COMPARE: Duration = Duration::from_secs(30);
/// How often while the observed state is known to be stale.
const COMPARE_AGAIN: Duration = Duration::from_secs(1);
/// How often what depends on time alone is looked at: Leases that run out, retries, lifetimes.
const TICK: Duration = Duration::from_millis(500);
/// Inputs taken over at once, before the kernel is looked at again.
const INPUTS_AT_ONCE: usize = 4096;

/// The agent.
#[allow(clippy::struct_excessive_bools, reason = "they have nothing to do with each other")]
pub struct Agent {
    settings: Settings,
    outside: Outside,
    cluster: Store,
    host: Host,
    marks_addresses: bool,
    record: Record,
    interface_record: InterfaceRecord,
    /// For which Services this node has put addresses into its kernel.
    holders: Holders,
    /// For which Services this node took part in an address when it last decided about it, by their UIDs.
    served: BTreeMap<IpAddr, Uids>,
    /// Those of them on which nothing says that the address is ours.
    unmarked: BTreeMap<IpAddr, Uids>,
    /// What the Lease says of addresses that are refused or held.
    entries: Entries,
    /// What was reported of traffic policies, by address.
    policy_reports: BTreeMap<IpAddr, PolicyReport>,
    /// What was reported of this node's interfaces.
    problems: NodeProblems,
    mode: Mode,
    notices: BTreeSet<Notice>,
    selection: Selection,
    connected: Connected,
    /// The gateways of this node's default routes.
    gateways: BTreeSet<IpAddr>,
    /// The addresses in the Node's status of which it was reported that they are ours.
    node_addresses_reported: BTreeSet<IpAddr>,
    interfaces_changed: bool,
    /// The kernel may choose another source than before.
    source_changed: bool,
    dummy: Dummy,
    remote: Remote,
    local: Local,
    guard: Guard,
    status: BTreeMap<IpAddr, Status>,
    reporter: Reporter,
    annotations: AnnotationWriter,
    config_status: AgentStatusWriter,
    endpoint_watch: Option<Task>,
    first_pass_done: bool,
}

impl Agent {
    /// Opens the sockets to the kernel and reads what it has.
    ///
    /// # Errors
    /// When the kernel refuses, most likely for want of `CAP_NET_ADMIN`.
    pub fn new(settings: Settings, outside: Outside) -> Result<Self, KernelError> {
        let (metrics, events) = (outside.metrics.clone(), outside.events.clone());
        metrics.announced.set_node(&settings.node);
        let interface_record = InterfaceRecord::load(&settings.run_dir);
        Ok(Self {
            cluster: Store::new(&settings.node),
            host: Host::open()?,
            marks_addresses: marks_addresses(),
            record: Record::load(&settings.run_dir),
            holders: Holders::load(&settings.run_dir),
            served: BTreeMap::new(),
            unmarked: BTreeMap::new(),
            entries: Entries::default(),
            policy_reports: BTreeMap::new(),
            problems: NodeProblems::default(),
            mode: Mode::Deselected,
            notices: BTreeSet::new(),
            selection: Selection::remembering(interface_record.interfaces().clone()),
            connected: Connected::default(),
            gateways: BTreeSet::new(),
            node_addresses_reported: BTreeSet::new(),
            interface_record,
            interfaces_changed: true,
            source_changed: true,
            dummy: Dummy::default(),
            remote: Remote::default(),
            local: Local::default(),
            guard: Guard::start(settings.kube_proxy, BootTime::now()),
            status: BTreeMap::new(),
            reporter: Reporter::new(settings.node.clone(), settings.gossip_port, metrics, events),
            annotations: AnnotationWriter::new(outside.client.clone()),
            config_status: AgentStatusWriter::new(outside.client.clone()),
            endpoint_watch: None,
            first_pass_done: false,
            settings,
            outside,
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
                Ok(()) = self.host.wait() => self.listen().await,
                Some(input) = inputs.recv() => self.apply(input, &mut inputs),
                Some(answer) = requests.recv() => self.answer_query(answer),
                update = self.local.next() => match update {
                    Some(update) => self.handle_updates(update),
                    None => return,
                },
                _ = tick.tick() => self.tick().await,
                news = self.guard.wait() => self.look_at_rules(news).await,
                () = tokio::time::sleep_until(wake) => {}
                () = self.annotations.written() => {}
            }
            self.pass().await;
            if self.local.has_failed() {
                return;
            }
            self.write_annotations();
        }
        self.stop().await;
    }

    /// When there is something to do or to write; a day from now if there is nothing.
    fn wake(&self) -> Instant {
        // A pass leaves work behind when the kernel reported something while it wrote.
        if self.first_pass_done && (self.cluster.is_dirty() || self.interfaces_changed) {
            return Instant::now();
        }
        let now = BootTime::now();
        let due = self.annotations.wake();
        Instant::now() + due.map_or(Duration::from_secs(86_400), |due| due.since(now))
    }

    fn apply(&mut self, first: Input, inputs: &mut mpsc::Receiver<Input>) {
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
            let Some(update) = self.local.try_next() else { return };
            self.handle_update(update);
        }
    }

    async fn tick(&mut self) {
        let now = BootTime::now();
        self.cluster.expire(now);
        self.end_handing_over(now);
        self.note_exclusion(now);
        self.cluster.mark(self.remote.retries.due(now));
        let interval = if self.host.is_stale() { COMPARE_AGAIN } else { COMPARE };
        if now.since(self.host.compared()) >= interval {
            self.compare().await;
            if self.cluster.missing().is_some() {
                self.hold().await;
            }
        }
        self.interfaces_changed |= self.dummy.is_due(now);
        self.check_source().await;
        self.look_if_due().await;
        self.note_boot();
        self.write_agent_statuses();
        self.save_record();
    }

    /// Writes the state files; reports once that it cannot.
    fn save_record(&mut self) {
        let saved = self.record.save().and_then(|()| self.holders.save());
        let saved = saved.and_then(|()| self.interface_record.save(self.selection.defaults()));
        self.outside.metrics.record_unwritable.set(i64::from(saved.is_err()));
        let new = self.problems.note_unwritable(saved.is_err());
        if let Some(error) = saved.err().filter(|_| new) {
            let text = format!(
                "{}, where the agent keeps which addresses are its own, cannot be written ({error}): check its permissions, SELinux and free space",
                self.settings.run_dir.display()
            );
            tracing::warn!(op = "record", event = reason::RECORD_UNWRITABLE, %error, "{text}");
            self.reporter.node(&self.cluster, reason::RECORD_UNWRITABLE, &text);
        }
    }

    /// The plan for remote addresses; for all, as long as the thread for local ones does not run.
    fn plan(&self, now: BootTime) -> Plan<'_> {
        Plan {
            desired: self.remote.desired(),
            anchors: self.remote.anchors(),
            observed: self.host.observed(),
            ours: self.ours(),
            remote_links: &self.local.interfaces.remote_links,
            writer: if self.local.is_running() { Writer::Remote } else { Writer::Sole },
            sweep: self.cluster.missing().is_none(),
            interval: u32::try_from(COMPARE.as_secs()).unwrap_or(30),
            now,
        }
    }

    /// Which addresses in the kernel are ours.
    const fn ours(&self) -> Ours<'_> {
        Ours::new(self.record.keys(), self.marks_addresses).or_candidate(&self.local.candidacies)
    }

    fn node_addresses(&self) -> &BTreeSet<IpAddr> {
        static NONE: BTreeSet<IpAddr> = BTreeSet::new();
        self.cluster.node.as_ref().map_or(&NONE, |node| &node.addresses)
    }

    fn write_annotations(&mut self) {
        let (status, observed) = (&self.status, self.host.observed());
        let (served, old_leader) = (&self.served, self.cluster.has_old_leader());
        let role = |service: &ServiceView, ip| {
            let role = status.get(&ip).map_or(Role::NotOwner, |status| status.role(observed));
            if is_given(served, old_leader, ip, service) { role } else { role.of_foreign_address() }
        };
        self.annotations.write_due(&self.cluster.services, &self.reporter, role);
    }
}
