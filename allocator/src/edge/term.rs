//! What happens when this replica begins or ceases to lead.

use std::time::Duration;

use api_types::names::LEADER_LEASE;
use kube::Api;
use runtime::leader::{Term, Unwritable};
use runtime::log::ErrorChain;
use runtime::webhooks::{self, LEASES, SERVICES, Target};
use runtime::{BootTime, Task};
use tracing::{info, warn};

use super::controller::{Controller, FoundLeftovers, Role, Settings};
use super::hearing::Hearing;
use super::loaded::Loaded;
use super::owed_record::Found;
use super::{gossip_key, owed_record, watches};

/// The pause before leftovers are searched for again.
const LEFTOVERS_AGAIN: Duration = Duration::from_secs(30);

/// The pause before it is read again what has to be known before IPAM sidecars are asked.
const EXTERNAL_AGAIN: Duration = Duration::from_secs(10);

impl Controller {
    /// The election has begun or ended a term of this replica.
    pub(super) fn term_changed(&mut self, term: Option<Term>) {
        self.step_down();
        self.role = term.clone().map_or(Role::Following, Role::Reading);
        if let Some(term) = term {
            info!(op = "lead", term = term.number, clean = term.clean, "elected leader, reading everything afresh");
            self.loaded = Loaded::default();
            self.hearing = Hearing::reading(BootTime::now());
            self.inputs = watches::open(&self.client, &self.settings.namespace, self.settings.default_announcer);
        }
    }

    /// Drops what is in flight. A new leader fences what may still arrive.
    fn step_down(&mut self) {
        self.quiet &= self.writes.is_empty() && self.index.is_quiet() && !self.awaits_late_writes();
        self.writes.clear();
        self.repeated = 0;
        self.retries.clear();
        self.statuses.clear();
        self.leftovers.clear();
        self.calls.clear();
        self.external_start.clear();
        self.record_writes.clear();
        self.gossip_key = None;
        self.index.follow();
        self.watch_endpoints();
        self.index.refresh_pool_gauges();
        self.parts.metrics.leader.set(0);
    }

    /// All lists have been read: an elected leader begins to write.
    pub(super) fn everything_read(&mut self) {
        let Role::Reading(term) = self.role.clone() else { return };
        let fence = format!("{}-{}", self.settings.identity, term.number);
        self.index.lead(term.clean, term.statement.as_deref(), &fence);
        self.role = Role::Leading(term.number);
        self.parts.metrics.leader.set(1);
        let (fencing, backlog) = (self.index.is_fencing(), self.index.backlog());
        info!(op = "lead", term = term.number, fencing, backlog, "leading");
        self.leftovers.push(Box::pin(self.writer.clone().leftovers()));
        self.start_external(Duration::ZERO);
        let secrets = Api::namespaced(self.client.clone(), &self.settings.namespace);
        self.gossip_key = Some(Task::spawn(gossip_key::fill(secrets, self.parts.writes.clone())));
    }

    /// Reads, after this pause, what has to be known before IPAM sidecars are asked.
    fn start_external(&mut self, pause: Duration) {
        let Settings { namespace, cluster, .. } = self.settings.clone();
        let client = self.client.clone();
        self.external_start.push(Box::pin(async move {
            tokio::time::sleep(pause).await;
            owed_record::find(client, namespace, cluster).await
        }));
    }

    pub(super) fn external_start_found(&mut self, found: Result<Found, String>) {
        match found {
            Ok(Found { cluster, record }) => self.index.start_external(&cluster, record.as_deref()),
            Err(why) => {
                self.index.cannot_start_external(&why);
                self.start_external(EXTERNAL_AGAIN);
            }
        }
    }

    /// A replica that does not hear of changes leaves the leadership to another one.
    pub(super) fn check_hearing(&mut self, now: BootTime) {
        let able = self.hearing.can_lead(now);
        if !self.parts.ability.set(able) {
            return;
        }
        if able {
            info!(op = "leader", "hears of changes of Services and ServiceGroups again, and may lead");
        } else {
            warn!(
                op = "leader",
                "does not hear of changes of Services and ServiceGroups: leaves the leadership to another replica"
            );
        }
    }

    /// The Lease cannot be written, or can be again.
    pub(super) fn lease_changed(&mut self, unwritable: Option<Unwritable>) {
        if let Some(unwritable) = unwritable {
            self.unwritable = Some(unwritable);
            self.webhooks.push(Box::pin(webhooks::describe(self.client.clone(), LEASES)));
        } else {
            if self.unwritable.take().is_some() {
                info!(op = "leader", "the Lease {LEADER_LEASE} can be written again");
            }
            self.no_leader = None;
        }
        self.check_loaded();
    }

    /// The webhooks are known that the API server asks before it answers.
    pub(super) fn webhooks_found(&mut self, (target, cause): (Target, String)) {
        if target == SERVICES {
            self.index.tell_webhooks(&cause);
        } else if let Some(Unwritable { deadline }) = self.unwritable {
            let text = format!(
                "no replica can lead: the API server does not answer writes of the Lease {LEADER_LEASE} within {deadline:?}; {cause}"
            );
            warn!(op = "leader", "{text}");
            self.no_leader = Some(text);
            self.check_loaded();
        }
    }

    /// Services were found that are no longer of type `LoadBalancer` and carry annotations or conditions of ours.
    pub(super) fn leftovers_found(&mut self, found: FoundLeftovers) {
        match found {
            Ok(leftovers) => {
                if !leftovers.is_empty() {
                    let services = leftovers.len();
                    info!(
                        op = "clean",
                        services, "found annotations of ours on Services of other types, removing them"
                    );
                }
                self.index.clean_up(leftovers);
            }
            Err(error) => {
                warn!(op = "clean", error = %ErrorChain(&error), "cannot list Services of other types, trying again");
                let writer = self.writer.clone();
                self.leftovers.push(Box::pin(async move {
                    tokio::time::sleep(LEFTOVERS_AGAIN).await;
                    writer.leftovers().await
                }));
            }
        }
    }
}
