//! The loop that joins watches, state, writes and calls.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use runtime::events::EventQueue;
use runtime::leader::{Ability, Leadership, Statement, Term, Unwritable};
use runtime::metrics::ClientMetrics;
use runtime::scrape::Scrapes;
use runtime::server::Readiness;
use runtime::webhooks::Target;
use runtime::write::{WriteCounter, WriteError};
use runtime::{BootTime, Task};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::hearing::Hearing;
use super::loaded::Loaded;
use super::owed_record::Found;
use super::retries::Retries;
use super::sidecar_client::SidecarClient;
use super::watches::{Input, Optional, endpoint_slices, open};
use super::writer::{Attempted, EndedAttempt, Writer};
use crate::external::{Call, CallError, Response};
use crate::metrics::Metrics;
use crate::model::{GroupId, Leftover};
use crate::state::{HeldReports, Index};

/// How often the passing of time is looked at.
const TICK: Duration = Duration::from_millis(200);

/// The settings of the allocator.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace of ServiceGroups, Leases and the gossip Secret.
    pub namespace: String,
    /// Whether Services without a class are ours.
    pub default_announcer: bool,
    /// The most writes to Services in flight.
    pub in_flight: usize,
    /// How long one write to a Service may take. Webhooks may take 10 s unless they say otherwise.
    pub service_deadline: Duration,
    /// How long any other write may take.
    pub deadline: Duration,
    /// How long one call to an IPAM sidecar may take.
    pub sidecar_deadline: Duration,
    /// Names the cluster for IPAM sidecars. Without it the UID of the namespace `kube-system` does.
    pub cluster: Option<String>,
    /// Differs from that of any other process.
    pub identity: String,
}

/// What the loop works with.
#[derive(Debug)]
pub struct Parts {
    /// The metrics of the allocator.
    pub metrics: Metrics,
    /// The metrics that both programs have.
    pub client_metrics: ClientMetrics,
    /// Counts writes.
    pub writes: WriteCounter,
    /// Publishes Kubernetes events.
    pub events: EventQueue,
    /// The answer of `/readyz`.
    pub readiness: Readiness,
    /// Whether this replica leads at this moment. Every write and call asks it.
    pub leadership: Leadership,
    /// Scrapes of the metrics.
    pub scrapes: Scrapes,
    /// The terms of this replica.
    pub terms: watch::Receiver<Option<Term>>,
    /// Whether this replica can lead.
    pub ability: Ability,
    /// What the Lease says that this replica may be about to give.
    pub statement: Statement,
    /// Why the Lease cannot be written, while that lasts.
    pub unwritable: watch::Receiver<Option<Unwritable>>,
}

/// Whether this replica leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    Following,
    /// It leads, but first reads everything afresh.
    Reading(Term),
    /// In the term of this number.
    Leading(u64),
}

pub(super) type FoundLeftovers = Result<Vec<Leftover>, WriteError>;
pub(super) type InFlight<T> = FuturesUnordered<BoxFuture<'static, T>>;

/// The running allocator.
pub struct Controller {
    pub(super) client: Client,
    pub(super) settings: Settings,
    pub(super) parts: Parts,
    pub(super) writer: Writer,
    pub(super) sidecars: SidecarClient,
    pub(super) index: Index,
    pub(super) held_reports: HeldReports,
    pub(super) role: Role,
    pub(super) loaded: Loaded,
    pub(super) hearing: Hearing,
    pub(super) inputs: BoxStream<'static, Input>,
    /// The watch of `EndpointSlices`, while it is needed.
    pub(super) endpoints: Option<BoxStream<'static, Input>>,
    /// Writes to Services in flight.
    pub(super) writes: InFlight<EndedAttempt>,
    /// How many of them were sent before.
    pub(super) repeated: usize,
    pub(super) retries: Retries,
    /// Writes of group statuses in flight.
    pub(super) statuses: InFlight<(GroupId, &'static str)>,
    /// Searches for leftovers in progress.
    pub(super) leftovers: InFlight<FoundLeftovers>,
    /// Calls to sidecars in flight.
    pub(super) calls: InFlight<(Call, Result<Response, CallError>)>,
    /// Reading what has to be known before sidecars are asked.
    pub(super) external_start: InFlight<Result<Found, String>>,
    /// Writing the record of what is owed to sidecars: whether it succeeded.
    pub(super) record_writes: InFlight<bool>,
    /// Reading which webhooks the API server asks.
    pub(super) webhooks: InFlight<(Target, String)>,
    /// Why the Lease cannot be written.
    pub(super) unwritable: Option<Unwritable>,
    /// The same for people, once it is known who may be the cause.
    pub(super) no_leader: Option<String>,
    pub(super) gossip_key: Option<Task>,
    /// When waiting Services were planned again last.
    pub(super) retried: BootTime,
    /// Whether every write and call was answered, so that none can still arrive.
    pub(super) quiet: bool,
}

impl Controller {
    /// Opens the watches.
    #[must_use]
    pub fn new(client: Client, settings: Settings, parts: Parts) -> Self {
        let writer = Writer {
            client: client.clone(),
            leadership: parts.leadership.clone(),
            service_deadline: settings.service_deadline,
            deadline: settings.deadline,
            default_announcer: settings.default_announcer,
            writes: parts.writes.clone(),
        };
        let inputs = open(&client, &settings.namespace, settings.default_announcer);
        let index = Index::new(&settings.namespace, parts.metrics.clone());
        let sidecars = SidecarClient::new(settings.sidecar_deadline, parts.metrics.sidecars.clone());
        Self {
            client,
            settings,
            parts,
            writer,
            sidecars,
            index,
            held_reports: HeldReports::default(),
            role: Role::Following,
            loaded: Loaded::default(),
            hearing: Hearing::reading(BootTime::now()),
            inputs,
            endpoints: None,
            writes: FuturesUnordered::new(),
            repeated: 0,
            retries: Retries::default(),
            statuses: FuturesUnordered::new(),
            leftovers: FuturesUnordered::new(),
            calls: FuturesUnordered::new(),
            external_start: FuturesUnordered::new(),
            record_writes: FuturesUnordered::new(),
            webhooks: FuturesUnordered::new(),
            unwritable: None,
            no_leader: None,
            gossip_key: None,
            retried: BootTime::now(),
            quiet: true,
        }
    }

    /// Works until the stop, then waits for the writes in flight. Returns whether every write that was ever sent has been
    /// answered.
    pub async fn run(mut self, stop: CancellationToken) -> bool {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.parts.readiness.unready("reading Services, ServiceGroups, Leases and Nodes");
        let mut terms = self.parts.terms.clone();
        terms.mark_changed();
        let mut unwritable = self.parts.unwritable.clone();
        let mut stated = self.parts.statement.written();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = terms.changed() => match changed {
                    Ok(()) => {
                        let term = terms.borrow_and_update().clone();
                        self.term_changed(term);
                    }
                    // The election has ended, so nobody may write.
                    Err(_) => break,
                },
                Some(input) = self.inputs.next() => self.input(input),
                Some(input) = next_of(&mut self.endpoints) => self.input(input),
                Some(ended) = self.writes.next() => self.write_ended(ended),
                Some((group, outcome)) = self.statuses.next() => self.status_written(&group, outcome),
                Some(found) = self.webhooks.next() => self.webhooks_found(found),
                Ok(()) = unwritable.changed() => {
                    let now = *unwritable.borrow_and_update();
                    self.lease_changed(now);
                }
                Ok(()) = stated.changed() => {
                    let now = stated.borrow_and_update().clone();
                    self.offer_recorded(now);
                }
                Some(found) = self.leftovers.next() => self.leftovers_found(found),
                Some((call, result)) = self.calls.next() => self.index.call_answered(&call, &result, BootTime::now()),
                Some(found) = self.external_start.next() => self.external_start_found(found),
                Some(written) = self.record_writes.next() => self.index.record_written(written, BootTime::now()),
                Some(_scrape) = self.parts.scrapes.next() => self.index.refresh_pool_gauges(),
                _ = ticks.tick() => self.tick(),
            }
            self.send_all();
        }
        self.finish().await
    }

    /// Sends nothing new, and waits for the writes in flight.
    async fn finish(mut self) -> bool {
        self.quiet &= self.index.is_quiet() && !self.awaits_late_writes();
        // Whatever is owed by now, and however short ago the record was written.
        let deadline = self.settings.service_deadline;
        self.write_record(BootTime::now() + deadline);
        let ends = async {
            while let Some((_, attempted, ..)) = self.writes.next().await {
                self.quiet &= !matches!(attempted, Attempted::Again(_));
            }
            while self.statuses.next().await.is_some() {}
            while let Some(written) = self.record_writes.next().await {
                self.index.record_written(written, BootTime::now());
                // What has come to be owed since an earlier write was sent.
                if written {
                    self.write_record(BootTime::now() + deadline);
                }
            }
        };
        if timeout(deadline, ends).await.is_err() {
            warn!(op = "stop", "some writes were not answered in time");
            self.quiet = false;
        }
        self.quiet
    }

    /// Whether writes of an earlier leader may still arrive. A successor has to fence them in turn.
    pub(super) fn awaits_late_writes(&self) -> bool {
        self.index.is_fencing() || matches!(&self.role, Role::Reading(term) if !term.clean)
    }

    fn input(&mut self, input: Input) {
        self.parts.client_metrics.updates.inc();
        match input {
            Input::Service(service) => self.index.apply_service(*service),
            Input::ServiceGone(gone) => self.index.delete_service(&gone),
            Input::Services(list) => {
                info!(op = "list", services = list.len(), "read all Services of type LoadBalancer");
                self.index.reset_services(list);
                self.loaded.services = true;
            }
            Input::Group(group) => self.index.apply_group(*group),
            Input::GroupGone(id) => self.index.delete_group(&id),
            Input::Groups(list) => {
                info!(op = "list", groups = list.len(), "read all ServiceGroups");
                self.index.reset_groups(list);
                self.loaded.groups = true;
                self.parts.client_metrics.config_loaded.set(1);
            }
            Input::Lease(lease) => {
                self.index.apply_lease(&lease, BootTime::now(), Timestamp::now());
                self.held_reports.apply(&lease);
            }
            Input::LeaseGone(lease) => {
                self.index.delete_lease(&lease);
                self.held_reports.delete(&lease);
            }
            Input::Leases(list) => {
                self.index.reset_leases(&list, BootTime::now(), Timestamp::now());
                self.held_reports.reset(&list);
                self.loaded.leases = true;
            }
            Input::Node(node) => self.index.apply_node(node),
            Input::NodeGone(name) => self.index.delete_node(&name),
            Input::Nodes(list) => {
                self.index.reset_nodes(list);
                self.loaded.nodes = true;
            }
            Input::ExternalIps(name, ips) => self.index.set_external_ips(&name, ips),
            Input::AllExternalIps(list) => {
                self.index.reset_external_ips(list);
                self.loaded.external_ips = true;
            }
            Input::ServiceCidr(object) => self.index.apply_service_cidr(&object),
            Input::ServiceCidrGone(object) => self.index.delete_service_cidr(&object),
            Input::ServiceCidrs(list) => {
                self.index.reset_service_cidrs(list);
                self.loaded.service_cidrs = true;
            }
            Input::Slice(slice) => self.index.apply_slice(slice),
            Input::SliceGone(service, name) => self.index.delete_slice(&service, &name),
            Input::Slices(list) => self.index.reset_slices(list),
            Input::Irrelevant => {}
            Input::Current(what, current) => self.hearing.set(what, current, BootTime::now()),
            // What needs them stays as it is.
            Input::Refused(Optional::EndpointSlices) => self.index.forget_slices(),
            // There is nothing to wait for.
            Input::Refused(Optional::Nodes) => self.loaded.nodes = true,
            Input::Refused(Optional::ServiceCidrs) => self.loaded.service_cidrs = true,
        }
        self.check_loaded();
    }

    /// Begins to work when everything has been read that this replica needs.
    pub(super) fn check_loaded(&mut self) {
        if self.loaded.is_enough(BootTime::now()) {
            match &self.no_leader {
                None => self.parts.readiness.ready(),
                Some(why) => self.parts.readiness.unready(why),
            }
            let now = BootTime::now();
            self.index.set_time(now, Timestamp::now());
            self.refresh_held(now);
            self.everything_read();
        }
    }

    /// Brings up to date what the agents' kernels have.
    pub(super) fn refresh_held(&mut self, now: BootTime) {
        if let Some((held, reports)) = self.held_reports.changed() {
            self.index.set_held(held);
            self.index.set_agent_reports(reports);
        }
        let complete = self.held_reports.is_complete(|node| self.index.is_agent_alive(node, now));
        self.index.set_heard_all(complete);
    }

    /// Watches `EndpointSlices` exactly while that is needed.
    pub(super) fn watch_endpoints(&mut self) {
        match (self.index.needs_endpoints(), &self.endpoints) {
            (true, None) => self.endpoints = Some(endpoint_slices(&self.client)),
            (false, Some(_)) => {
                self.endpoints = None;
                self.index.forget_slices();
            }
            _ => {}
        }
    }
}

/// The next input of a watch that may not be open.
async fn next_of(inputs: &mut Option<BoxStream<'static, Input>>) -> Option<Input> {
    match inputs {
        Some(inputs) => inputs.next().await,
        None => std::future::pending().await,
    }
}
