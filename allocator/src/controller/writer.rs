//! Sends one patch, with the fence before and a deadline over it.

use std::time::Duration;

use api_types::ServiceGroup;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use runtime::leader::Leadership;
use runtime::log::ErrorChain;
use runtime::write::{Next, WriteCounter, WriteError, within};
use tracing::{debug, warn};

use crate::FIELD_MANAGER;
use crate::groups::GroupId;
use crate::index::{Outcome, ServicePatch, StatusPatch, Task, clean};
use crate::service::{Leftover, Watched};

/// What a sent patch led to.
#[derive(Debug)]
pub(super) enum Answer {
    /// The end of this patch.
    Done(Box<Outcome>),
    /// The same patch again, after this time at least: it is not known whether it was written.
    Again(Option<Duration>),
    /// This patch instead.
    Instead(ServicePatch),
}

impl Answer {
    fn done(outcome: Outcome) -> Self {
        Self::Done(Box::new(outcome))
    }
}

/// Everything that a write needs; cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) leadership: Leadership,
    pub(super) deadline: Duration,
    pub(super) default_announcer: bool,
    pub(super) writes: WriteCounter,
}

impl Writer {
    /// Sends a patch of a Service.
    pub(super) async fn send(self, patch: ServicePatch) -> (ServicePatch, Answer) {
        let answer = self.answer(&patch).await;
        (patch, answer)
    }

    async fn answer(&self, patch: &ServicePatch) -> Answer {
        if !self.leadership.is_held() {
            // An earlier attempt may have been written: what it gives stays reserved.
            return Answer::Again(None);
        }
        let api: Api<Watched> = Api::namespaced(self.client.clone(), patch.name.namespace());
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let body = Patch::Merge(&patch.body);
        let request = api.patch_status(patch.name.name(), &parameters, &body);
        let object = match patch.task {
            Task::Assign => "service",
            Task::Fence => "service-fence",
            Task::Clean => "service-clean",
        };
        match self.writes.count(object, within(self.deadline, request).await) {
            Ok(now) => Answer::done(now.reduce(self.default_announcer).map_or(Outcome::Gone, Outcome::Written)),
            Err(error) => self.failed(&api, patch, &error).await,
        }
    }

    async fn failed(&self, api: &Api<Watched>, patch: &ServicePatch, error: &WriteError) -> Answer {
        match error.next() {
            Next::Forget => Answer::done(Outcome::Gone),
            Next::Remake => self.reread(api, patch).await,
            Next::Refused => {
                warn!(op = "write", service = %patch.name, error = %ErrorChain(error), "the API server refuses the write");
                Answer::done(Outcome::Refused(ErrorChain(error).to_string()))
            }
            Next::Retry(after) => {
                debug!(op = "write", service = %patch.name, error = %ErrorChain(error), "write failed, trying again");
                Answer::Again(after)
            }
        }
    }

    /// The Service has changed: its newer state.
    async fn reread(&self, api: &Api<Watched>, patch: &ServicePatch) -> Answer {
        match within(self.deadline, api.get(patch.name.name())).await {
            Ok(now) if patch.task == Task::Clean => match now.leftover() {
                Some(leftover) if *leftover.version != *patch.version() => Answer::Instead(clean(&leftover)),
                _ => Answer::done(Outcome::Gone),
            },
            Ok(now) => match now.reduce(self.default_announcer) {
                // The conflict is not about what we know: no haste.
                Some(service) if *service.version == *patch.version() => Answer::Again(None),
                Some(service) => Answer::done(Outcome::Conflict(service)),
                None => Answer::done(Outcome::Gone),
            },
            Err(error) if error.next() == Next::Forget => Answer::done(Outcome::Gone),
            Err(_) => Answer::Again(None),
        }
    }

    /// Writes the status of a group; the label for its metric.
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

    /// All Services with annotations of ours that are not of type `LoadBalancer`.
    pub(super) async fn leftovers(self) -> Result<Vec<Leftover>, WriteError> {
        let api: Api<Watched> = Api::all(self.client.clone());
        let mut found = Vec::new();
        let mut parameters = ListParams::default().fields("spec.type!=LoadBalancer").limit(500);
        loop {
            let page = within(Duration::from_secs(30), api.list(&parameters)).await?;
            found.extend(page.items.iter().filter_map(Watched::leftover));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }
}
