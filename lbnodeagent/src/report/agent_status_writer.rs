//! Writing the status of LBNodeAgents.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::LBNodeAgent;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use runtime::log::ErrorChain;
use runtime::write::{WriteCounter, within};
use runtime::{BootTime, Task};

use super::agent_status::{AgentName, Written, patch};
use super::lease::content::FIELD_MANAGER;
use crate::cluster::agent_object::AgentObject;

/// How long one write may take: longer than a webhook's default of 10 s.
const DEADLINE: Duration = Duration::from_secs(12);

/// Writes the status of LBNodeAgents, one at a time.
pub struct AgentStatusWriter {
    client: Client,
    written: Written,
    /// The write under way.
    write: Option<Task>,
}

impl AgentStatusWriter {
    /// Without anything written yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, written: Written::default(), write: None }
    }

    /// Starts the next write, if there is one and none is under way.
    pub fn write_due(&mut self, objects: &BTreeMap<AgentName, AgentObject>, writes: &WriteCounter) {
        if self.write.as_ref().is_some_and(|write| !write.is_finished()) {
            return;
        }
        let Some((name, object, status)) = self.written.next(objects, BootTime::now(), Timestamp::now()) else {
            return;
        };
        let patch = Patch::Apply(patch(name, object, &status));
        let api: Api<LBNodeAgent> = Api::namespaced(self.client.clone(), &name.0);
        let (name, writes) = (name.clone(), writes.clone());
        self.write = Some(Task::spawn(async move {
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            let request = api.patch_status(&name.1, &parameters, &patch);
            if let Err(error) = writes.count("lbnodeagent", within(DEADLINE, request).await) {
                tracing::info!(op = "agentStatus", agent = name.1, error = %ErrorChain(&error), "status not written yet");
            }
        }));
    }
}
