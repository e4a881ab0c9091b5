//! The agent as a process: started, stopped, restarted by the kubelet. Also whether an LBNodeAgent selects its node.

use e2e::BenchResult as Result;
use std::time::{Duration, Instant};

use api_types::LBNodeAgent;
use e2e::{NAMESPACE, Node, Signal};
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::setup::{Bench, PATIENCE};

/// The program.
const PROGRAM: &str = "lbnodeagent";

/// The label of nodes with an agent while this program starts and stops it.
const LABEL: &str = "bench-agent";

/// The `LBNodeAgent` that selects no node.
const CONFIG: &str = "bench";

/// The time between two searches for a process; a search takes about as long.
const LOOK: Duration = Duration::from_millis(2);

impl Bench {
    /// Restricts the agent to nodes with the label. No node has it, so the agent stops.
    pub(crate) async fn no_agent(&self) -> Result<()> {
        self.label(&Value::Null).await?;
        self.choose(&json!("yes"))?;
        until(&self.node, "no agent", <[i32]>::is_empty).await?;
        Ok(())
    }

    /// Starts the agent. Returns its process, and when that was first seen, a few milliseconds after its start.
    pub(crate) async fn start_agent(&self) -> Result<(i32, Instant)> {
        self.label(&json!("yes")).await?;
        self.appears().await
    }

    /// Stops the agent's process as the kubelet does. Returns when the signal was sent and when the process had ended.
    /// The kubelet starts it again.
    pub(crate) async fn terminate_agent(&self) -> Result<(Instant, Instant)> {
        let pid = self.node.agent_pid()?;
        let asked = Instant::now();
        self.node.kill(pid, Signal::SIGTERM)?;
        let gone = until(&self.node, "end of the agent", |pids| !pids.contains(&pid)).await?;
        Ok((asked, gone))
    }

    /// Lets the agent run on all nodes again, as it is installed.
    pub(crate) fn all_agents(&self) -> Result<()> {
        self.choose(&Value::Null)?;
        self.cluster.installation_ready()?;
        Ok(())
    }

    /// Waits for the agent's process.
    pub(crate) async fn appears(&self) -> Result<(i32, Instant)> {
        let at = until(&self.node, "an agent", |pids| !pids.is_empty()).await?;
        Ok((self.node.agent_pid()?, at))
    }

    fn choose(&self, value: &Value) -> Result<()> {
        let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {LABEL: value}}}}}).to_string();
        self.cluster.kubectl(&["patch", "daemonset", PROGRAM, "--namespace", NAMESPACE, "--patch", &patch])?;
        Ok(())
    }

    async fn label(&self, value: &Value) -> Result<()> {
        let patch = json!({"metadata": {"labels": {LABEL: value}}});
        let nodes: Api<NodeObject> = Api::all(self.kube.clone());
        nodes.patch(&self.node.name(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Sets whether the agent serves its node: an `LBNodeAgent` that selects no node is created or deleted. Returns
    /// when the request was sent.
    pub(crate) async fn select(&self, selected: bool) -> Result<Instant> {
        let configs: Api<LBNodeAgent> = Api::namespaced(self.kube.clone(), NAMESPACE);
        let object = json!({
            "apiVersion": "purelb.io/v2",
            "kind": "LBNodeAgent",
            "metadata": {"name": CONFIG, "namespace": NAMESPACE},
            "spec": {"nodeSelector": {"matchLabels": {LABEL: "nobody"}}, "local": {}},
        });
        let sent = Instant::now();
        if selected {
            match configs.delete(CONFIG, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                answer => drop(answer?),
            }
        } else {
            let parameters = PatchParams::apply("bench").force();
            configs.patch(CONFIG, &parameters, &Patch::Apply(object)).await?;
        }
        Ok(sent)
    }
}

/// Waits until the agent's processes on the node satisfy a condition.
async fn until(node: &Node, what: &str, wanted: impl Fn(&[i32]) -> bool) -> Result<Instant> {
    let end = Instant::now() + PATIENCE;
    loop {
        let pids = node.processes(PROGRAM)?;
        let now = Instant::now();
        if wanted(&pids) {
            return Ok(now);
        }
        if now > end {
            return Err(format!("{what}: not within {PATIENCE:?}; its processes: {pids:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}
