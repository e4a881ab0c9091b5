//! The loop that joins watches, state, writes and calls.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use runtime::backoff::Backoff;
use runtime::events::EventQueue;
use runtime::leader::{Leadership, Term};
use runtime::metrics::ClientMetrics;
use runtime::server::Readiness;
use runtime::write::{WriteCounter, WriteError};
use runtime::{BootTime, Task};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::retries::Retries;
use super::sidecar_client::SidecarClient;
use super::watches::{Input, open};
use super::writer::{Attempted, Writer};
use crate::external::{Call, CallError, Response};
use crate::metrics::Metrics;
use crate::model::{GroupId, Leftover};
use crate::state::{Index, NodeSubnets, ServicePatch};

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
    /// How long one write may take.
    pub deadline: Duration,
    /// How long one call to an IPAM sidecar may take.
    pub sidecar_deadline: Duration,
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
    /// The terms of this replica.
    pub terms: watch::Receiver<Option<Term>>,
}

/// Whether this replica leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Following,
    /// It leads, but first reads everything afresh.
    Reading(Term),
    Leading,
}

/// Which lists have been read completely.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) services: bool,
    pub(super) groups: bool,
    pub(super) leases: bool,
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
    pub(super) node_subnets: NodeSubnets,
    pub(super) role: Role,
    pub(super) loaded: Loaded,
    pub(super) inputs: BoxStream<'static, Input>,
    /// Writes to Services in flight.
    pub(super) writes: InFlight<(ServicePatch, Attempted, Backoff)>,
    pub(super) retries: Retries,
    /// Writes of group statuses in flight.
    pub(super) statuses: InFlight<(GroupId, &'static str)>,
    /// Searches for leftovers in progress.
    pub(super) leftovers: InFlight<FoundLeftovers>,
    /// Calls to sidecars in flight.
    pub(super) calls: InFlight<(Call, Result<Response, CallError>)>,
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
            node_subnets: NodeSubnets::default(),
            role: Role::Following,
            loaded: Loaded::default(),
            inputs,
            writes: FuturesUnordered::new(),
            retries: Retries::default(),
            statuses: FuturesUnordered::new(),
            leftovers: FuturesUnordered::new(),
            calls: FuturesUnordered::new(),
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
        self.parts.readiness.unready("reading Services, ServiceGroups and Leases");
        let mut terms = self.parts.terms.clone();
        terms.mark_changed();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                changed = terms.changed() => match changed {
                    Ok(()) => {
                        let term = *terms.borrow_and_update();
                        self.term_changed(term);
                    }
                    // The election has ended, so nobody may write.
                    Err(_) => break,
                },
                Some(input) = self.inputs.next() => self.input(input),
                Some((patch, attempted, backoff)) = self.writes.next() => self.write_ended(patch, attempted, backoff),
                Some((group, outcome)) = self.statuses.next() => self.status_written(&group, outcome),
                Some(found) = self.leftovers.next() => self.leftovers_found(found),
                Some((call, result)) = self.calls.next() => self.index.call_answered(&call, &result, BootTime::now()),
                _ = ticks.tick() => self.tick(),
            }
            self.send_all();
        }
        self.finish().await
    }

    /// Sends nothing new, and waits for the writes in flight.
    async fn finish(mut self) -> bool {
        self.quiet &= self.index.is_quiet();
        let ends = async {
            while let Some((_, attempted, _)) = self.writes.next().await {
                self.quiet &= !matches!(attempted, Attempted::Again(_));
            }
            while self.statuses.next().await.is_some() {}
        };
        if timeout(self.settings.deadline, ends).await.is_err() {
            warn!(op = "stop", "some writes were not answered in time");
            self.quiet = false;
        }
        self.quiet
    }

    fn input(&mut self, input: Input) {
        self.parts.client_metrics.updates.inc();
        match input {
            Input::Service(service) => self.index.apply_service(service),
            Input::ServiceGone(gone) => self.index.delete_service(&gone),
            Input::Services(list) => {
                info!(op = "list", services = list.len(), "read all Services of type LoadBalancer");
                self.index.reset_services(list);
                self.loaded.services = true;
                self.check_loaded();
            }
            Input::Group(group) => self.index.apply_group(*group),
            Input::GroupGone(id) => self.index.delete_group(&id),
            Input::Groups(list) => {
                info!(op = "list", groups = list.len(), "read all ServiceGroups");
                self.index.reset_groups(list);
                self.loaded.groups = true;
                self.parts.client_metrics.config_loaded.set(1);
                self.check_loaded();
            }
            Input::Lease(lease) => self.node_subnets.apply(&lease, BootTime::now(), Timestamp::now()),
            Input::LeaseGone(lease) => {
                self.node_subnets.delete(&lease);
                self.index.set_node_subnets(self.node_subnets.alive(BootTime::now()));
            }
            Input::Leases(list) => {
                self.node_subnets.reset(&list, BootTime::now(), Timestamp::now());
                self.loaded.leases = true;
                self.check_loaded();
            }
        }
    }

    fn check_loaded(&mut self) {
        if self.loaded.services && self.loaded.groups && self.loaded.leases {
            self.parts.readiness.ready();
            self.index.set_node_subnets(self.node_subnets.alive(BootTime::now()));
            self.everything_read();
        }
    }
}
