//! The loop that joins watches, index and writes.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client};
use runtime::backoff::Backoff;
use runtime::events::EventQueue;
use runtime::leader::{Leadership, Term};
use runtime::log::ErrorChain;
use runtime::metrics::ClientMetrics;
use runtime::server::Readiness;
use runtime::write::{WriteCounter, WriteError};
use runtime::{BootTime, Task};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::sources::{Input, open};
use super::writer::{Answer, Writer};
use crate::gossip_secret;
use crate::groups::GroupId;
use crate::index::{Index, Outcome, ServicePatch};
use crate::ipam::{Call, Desk, Reply, Trouble};
use crate::leases::Leases;
use crate::metrics::Metrics;
use crate::service::Leftover;

/// How often time passes for the index.
const TICK: Duration = Duration::from_millis(200);
/// Pending Services are judged again after this pause, and that for each of them.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_micros(100));
/// Pending Services are judged again at least this often, whatever happens.
const RETRY_ANYWAY: Duration = Duration::from_secs(60);
/// Group statuses written at a time.
const STATUS_WRITES: usize = 8;

/// What the user sets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where ServiceGroups, Leases and the gossip Secret are.
    pub namespace: String,
    /// Whether Services without a class are ours.
    pub default_announcer: bool,
    /// Writes to Services at a time.
    pub in_flight: usize,
    /// How long one write may take.
    pub deadline: Duration,
    /// How long one call to an IPAM sidecar may take.
    pub sidecar_deadline: Duration,
    /// Unlike that of any other process.
    pub identity: String,
}

/// What the loop works with.
#[derive(Debug)]
pub struct Parts {
    /// The series of the allocator.
    pub metrics: Metrics,
    /// The series that both programs have.
    pub client_metrics: ClientMetrics,
    /// Counts writes.
    pub writes: WriteCounter,
    /// Where events go.
    pub events: EventQueue,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// Guards every write.
    pub leadership: Leadership,
    /// Whether this replica leads.
    pub terms: watch::Receiver<Option<Term>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Following,
    /// Leader, but everything is read afresh first.
    Reading(Term),
    Leading,
}

#[derive(Debug, Default)]
struct Loaded {
    services: bool,
    groups: bool,
    leases: bool,
}

type Leftovers = Result<Vec<Leftover>, WriteError>;

/// The allocator at work.
pub struct Controller {
    client: Client,
    settings: Settings,
    parts: Parts,
    writer: Writer,
    index: Index,
    leases: Leases,
    role: Role,
    loaded: Loaded,
    sources: BoxStream<'static, Input>,
    flights: FuturesUnordered<BoxFuture<'static, (ServicePatch, Answer, Backoff)>>,
    /// Patches to send again, by time.
    later: BTreeMap<(BootTime, u64), (ServicePatch, Backoff)>,
    sequence: u64,
    statuses: FuturesUnordered<BoxFuture<'static, (GroupId, &'static str)>>,
    leftovers: FuturesUnordered<BoxFuture<'static, Leftovers>>,
    desk: Desk,
    /// Calls to IPAM sidecars under way.
    calls: FuturesUnordered<BoxFuture<'static, (Call, Result<Reply, Trouble>)>>,
    secret: Option<Task>,
    retried: BootTime,
    /// No write was left without an answer: none can still arrive.
    quiet: bool,
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
        let sources = open(&client, &settings.namespace, settings.default_announcer);
        let index = Index::new(&settings.namespace, parts.metrics.clone());
        let desk = Desk::new(settings.sidecar_deadline, parts.metrics.sidecars.clone());
        Self {
            client,
            settings,
            parts,
            writer,
            index,
            leases: Leases::default(),
            role: Role::Following,
            loaded: Loaded::default(),
            sources,
            flights: FuturesUnordered::new(),
            later: BTreeMap::new(),
            sequence: 0,
            statuses: FuturesUnordered::new(),
            leftovers: FuturesUnordered::new(),
            desk,
            calls: FuturesUnordered::new(),
            secret: None,
            retried: BootTime::now(),
            quiet: true,
        }
    }

    /// Works until the stop; then waits for the writes under way. Returns whether every write that was
    /// ever sent has been answered.
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
                        self.term(term);
                    }
                    // The election is over, so nobody may write.
                    Err(_) => break,
                },
                Some(input) = self.sources.next() => self.input(input),
                Some((patch, answer, backoff)) = self.flights.next() => self.answered(patch, answer, backoff),
                Some((group, outcome)) = self.statuses.next() => self.status_written(&group, outcome),
                Some(found) = self.leftovers.next() => self.leftovers_found(found),
                Some((call, result)) = self.calls.next() => self.index.answered(&call, &result, BootTime::now()),
                _ = ticks.tick() => self.tick(),
            }
            self.pump();
        }
        self.finish().await
    }

    /// Nothing new is sent; what is under way may end.
    async fn finish(mut self) -> bool {
        self.quiet &= self.index.is_quiet();
        let ends = async {
            while let Some((_, answer, _)) = self.flights.next().await {
                self.quiet &= !matches!(answer, Answer::Again(_));
            }
            while self.statuses.next().await.is_some() {}
        };
        if timeout(self.settings.deadline, ends).await.is_err() {
            warn!(op = "stop", "some writes did not end in time");
            self.quiet = false;
        }
        self.quiet
    }

    fn term(&mut self, term: Option<Term>) {
        self.step_down();
        self.role = term.map_or(Role::Following, Role::Reading);
        if let Some(term) = term {
            info!(op = "lead", term = term.number, clean = term.clean, "reading everything afresh");
            self.loaded = Loaded::default();
            self.sources = open(&self.client, &self.settings.namespace, self.settings.default_announcer);
        }
    }

    /// Drops what is under way; a new leader voids what may still arrive.
    fn step_down(&mut self) {
        self.quiet &= self.flights.is_empty() && self.index.is_quiet();
        self.flights.clear();
        self.later.clear();
        self.statuses.clear();
        self.leftovers.clear();
        self.calls.clear();
        self.secret = None;
        self.index.follow();
        self.parts.metrics.leader.set(0);
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
            Input::Lease(lease) => self.leases.apply(&lease, BootTime::now(), Timestamp::now()),
            Input::LeaseGone(lease) => {
                self.leases.delete(&lease);
                self.index.set_subnets(self.leases.subnets(BootTime::now()));
            }
            Input::Leases(list) => {
                self.leases.reset(&list, BootTime::now(), Timestamp::now());
                self.loaded.leases = true;
                self.check_loaded();
            }
        }
    }

    fn check_loaded(&mut self) {
        if !(self.loaded.services && self.loaded.groups && self.loaded.leases) {
            return;
        }
        self.parts.readiness.ready();
        self.index.set_subnets(self.leases.subnets(BootTime::now()));
        if let Role::Reading(term) = self.role {
            let fence = format!("{}-{}", self.settings.identity, term.number);
            self.index.lead(term.clean, &fence);
            self.role = Role::Leading;
            self.parts.metrics.leader.set(1);
            info!(
                op = "lead",
                term = term.number,
                fencing = self.index.is_fencing(),
                backlog = self.index.backlog(),
                "leading"
            );
            self.leftovers.push(Box::pin(self.writer.clone().leftovers()));
            let secrets = Api::namespaced(self.client.clone(), &self.settings.namespace);
            self.secret = Some(Task::spawn(gossip_secret::fill(secrets, self.parts.writes.clone())));
        }
    }

    fn tick(&mut self) {
        let now = BootTime::now();
        self.index.set_subnets(self.leases.subnets(now));
        if now.since(self.retried) >= RETRY_ANYWAY {
            self.retry(now);
        }
        let room = STATUS_WRITES.saturating_sub(self.statuses.len());
        for patch in self.index.status_patches(now, Timestamp::now(), room) {
            self.statuses.push(Box::pin(self.writer.clone().send_status(patch)));
        }
    }

    fn retry(&mut self, now: BootTime) {
        self.retried = now;
        self.index.retry();
    }

    fn answered(&mut self, patch: ServicePatch, answer: Answer, mut backoff: Backoff) {
        match answer {
            Answer::Done(outcome) => {
                if let Outcome::Refused(_) = *outcome {
                    self.parts.client_metrics.update_errors.inc();
                }
                self.index.written(&patch, *outcome);
            }
            Answer::Instead(patch) => self.resend(Duration::ZERO, patch, backoff),
            Answer::Again(after) => {
                self.quiet = false;
                self.parts.client_metrics.update_errors.inc();
                let delay = backoff.next_delay().max(after.unwrap_or_default());
                self.resend(delay, patch, backoff);
            }
        }
    }

    fn resend(&mut self, delay: Duration, patch: ServicePatch, backoff: Backoff) {
        self.sequence = self.sequence.wrapping_add(1);
        self.later.insert((BootTime::now() + delay, self.sequence), (patch, backoff));
    }

    fn status_written(&mut self, group: &GroupId, outcome: &'static str) {
        self.parts.metrics.status_writes.with_label_values(&[outcome]).inc();
        if outcome != "success" {
            self.index.status_failed(group, BootTime::now());
        }
    }

    fn leftovers_found(&mut self, found: Leftovers) {
        match found {
            Ok(leftovers) => {
                if !leftovers.is_empty() {
                    info!(
                        op = "clean",
                        services = leftovers.len(),
                        "found annotations of ours on Services of other types"
                    );
                }
                self.index.clean_up(leftovers);
            }
            Err(error) => {
                warn!(op = "clean", error = %ErrorChain(&error), "cannot look for leftovers, trying again");
                let writer = self.writer.clone();
                self.leftovers.push(Box::pin(async move {
                    tokio::time::sleep(Duration::from_secs(30)).await;
                    writer.leftovers().await
                }));
            }
        }
    }

    /// Sends what there is to send, and says what there is to say.
    fn pump(&mut self) {
        let now = BootTime::now();
        self.index.set_time(Timestamp::now());
        let waiting = u32::try_from(self.index.waiting()).unwrap_or(u32::MAX);
        let pause = RETRY.0.saturating_add(RETRY.1.saturating_mul(waiting));
        if self.index.wants_retry() && now.since(self.retried) >= pause {
            self.retry(now);
        }
        while self.flights.len() < self.settings.in_flight && self.parts.leadership.is_held() {
            let Some((patch, backoff)) = self.due(now).or_else(|| self.fresh()) else { break };
            let send = self.writer.clone().send(patch);
            self.flights.push(Box::pin(async move {
                let (patch, answer) = send.await;
                (patch, answer, backoff)
            }));
        }
        while self.parts.leadership.is_held()
            && let Some(call) = self.index.next_call(now)
        {
            self.calls.push(Box::pin(self.desk.send(call)));
        }
        self.parts.metrics.in_flight.set(i64::try_from(self.flights.len()).unwrap_or(i64::MAX));
        for event in self.index.take_events() {
            self.parts.events.publish(event);
        }
    }

    fn due(&mut self, now: BootTime) -> Option<(ServicePatch, Backoff)> {
        let first = self.later.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    fn fresh(&mut self) -> Option<(ServicePatch, Backoff)> {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        self.index.next_patch().map(|patch| (patch, backoff))
    }
}
