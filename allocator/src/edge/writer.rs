//! Sends one write, with a deadline, as long as this replica leads.

use std::time::Duration;

use api_types::ServiceGroup;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use runtime::BootTime;
use runtime::leader::Leadership;
use runtime::log::ErrorChain;
use runtime::write::{Next, WriteCounter, WriteError, within};
use tracing::{debug, warn};

use super::retries::Attempt;
use crate::FIELD_MANAGER;
use crate::model::{GroupId, Leftover, WatchedService};
use crate::state::{Outcome, Purpose, ServicePatch, StatusPatch, clean_up};

/// How one attempt of a write ended.
#[derive(Debug)]
pub(super) enum Attempted {
    /// The outcome is known.
    Done(Box<Outcome>),
    /// It is not known whether the write reached the API server. It is sent again, after this time at least.
    Again(Option<Duration>),
    /// This write is sent instead.
    Instead(ServicePatch),
}

impl Attempted {
    fn done(outcome: Outcome) -> Self {
        Self::Done(Box::new(outcome))
    }
}

/// An attempt of a write to a Service that has ended, how, and how long it took.
pub(super) type EndedAttempt = (Attempt, Attempted, Duration);

/// What every write needs; cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    /// Whether this replica still leads.
    pub(super) leadership: Leadership,
    /// Of a write to a Service.
    pub(super) service_deadline: Duration,
    /// Of everything else.
    pub(super) deadline: Duration,
    pub(super) default_announcer: bool,
    pub(super) writes: WriteCounter,
}

impl Writer {
    /// Sends a write to a Service.
    pub(super) async fn send(self, attempt: Attempt) -> EndedAttempt {
        let started = BootTime::now();
        let attempted = self.attempt(&attempt.patch).await;
        (attempt, attempted, BootTime::now().since(started))
    }

    async fn attempt(&self, patch: &ServicePatch) -> Attempted {
        if !self.leadership.is_held() {
            // An earlier attempt may have been written, so its addresses stay reserved.
            return Attempted::Again(None);
        }
        let api: Api<WatchedService> = Api::namespaced(self.client.clone(), patch.name.namespace());
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let body = Patch::Merge(&patch.body);
        let request = api.patch_status(patch.name.name(), &parameters, &body);
        let object = match patch.purpose {
            Purpose::Assign | Purpose::Repair => "service",
            Purpose::Fence | Purpose::Mark => "service-fence",
            Purpose::CleanUp => "service-clean",
        };
        match self.writes.count(object, within(self.service_deadline, request).await) {
            Ok(now) => Attempted::done(now.keep(self.default_announcer).map_or(Outcome::Gone, Outcome::Written)),
            Err(error) => self.failed(&api, patch, &error).await,
        }
    }

    async fn failed(&self, api: &Api<WatchedService>, patch: &ServicePatch, error: &WriteError) -> Attempted {
        match error.next() {
            Next::Forget => Attempted::done(Outcome::Gone),
            Next::Remake => self.reread(api, patch).await,
            Next::Refused => {
                warn!(op = "write", service = %patch.name, error = %ErrorChain(error), "the API server refuses the write to the Service");
                Attempted::done(Outcome::Refused(ErrorChain(error).to_string()))
            }
            Next::Retry(after) => {
                debug!(op = "write", service = %patch.name, error = %ErrorChain(error), "the write to the Service failed, trying again");
                Attempted::Again(after)
            }
        }
    }

    /// The Service has changed: reads its newer state.
    async fn reread(&self, api: &Api<WatchedService>, patch: &ServicePatch) -> Attempted {
        match within(self.deadline, api.get(patch.name.name())).await {
            Ok(now) if patch.purpose == Purpose::CleanUp => match now.leftover() {
                Some(leftover) if *leftover.version != *patch.version() => Attempted::Instead(clean_up(&leftover)),
                _ => Attempted::done(Outcome::Gone),
            },
            Ok(now) => match now.keep(self.default_announcer) {
                // The conflict has another cause than a newer state, so nothing is gained by haste.
                Some(service) if *service.version == *patch.version() => Attempted::Again(None),
                Some(service) => Attempted::done(Outcome::Conflict(service)),
                None => Attempted::done(Outcome::Gone),
            },
            Err(error) if error.next() == Next::Forget => Attempted::done(Outcome::Gone),
            Err(_) => Attempted::Again(None),
        }
    }

    /// Writes the status of a group. Returns the label `outcome` for the metric.
    pub(super) async fn send_status(self, patch: StatusPatch) -> (GroupId, &'static str) {
        if !self.leadership.is_held() {
            return (patch.group, "other");
        }
        let api: Api<ServiceGroup> = Api::namespaced(self.client.clone(), &patch.group.0);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let body = Patch::Apply(&patch.body);
        let request = api.patch_status(&patch.group.1, &parameters, &body);
        let result = self.writes.count("servicegroup", within(self.deadline, request).await);
        let outcome = match &result {
            Ok(_) => "success",
            Err(error) => {
                warn!(op = "status", group = patch.group.1, error = %ErrorChain(error), "cannot write the status of the group");
                match error.outcome() {
                    known @ ("conflict" | "forbidden") => known,
                    _ => "other",
                }
            }
        };
        (patch.group, outcome)
    }

    /// All Services that are not of type `LoadBalancer` and carry annotations or conditions of ours.
    pub(super) async fn leftovers(self) -> Result<Vec<Leftover>, WriteError> {
        let api: Api<WatchedService> = Api::all(self.client.clone());
        let mut found = Vec::new();
        let mut parameters = ListParams::default().fields("spec.type!=LoadBalancer").limit(500);
        loop {
            let page = within(Duration::from_secs(30), api.list(&parameters)).await?;
            found.extend(page.items.iter().filter_map(WatchedService::leftover));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }
}
