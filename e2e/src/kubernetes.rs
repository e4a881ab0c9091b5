//! A cluster's Kubernetes, for tests: a client, `kubectl`, and documents to apply and delete.

use std::{path::Path, process::Command, time::Duration};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    client_config,
    cluster::Cluster,
    command,
    error::{Error, Result},
    layout,
    wait::eventually,
};

impl Cluster {
    /// A client with all rights. It belongs to the runtime of the caller, so each test makes its own.
    ///
    /// # Errors
    /// The cluster's kubeconfig cannot be used.
    pub async fn kube(&self) -> Result<Client> {
        client_config::client(&self.layout().kubeconfig()).await
    }

    /// The file for `KUBECONFIG=...`.
    #[must_use]
    pub fn kubeconfig(&self) -> std::path::PathBuf {
        self.layout().kubeconfig()
    }

    /// Runs `kubectl` and returns what it printed.
    ///
    /// # Errors
    /// It fails, with its message.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        command::run(self.kubectl_command()?.args(arguments))
    }

    /// `kubectl`, ready to run, for a caller who wants to connect its streams.
    ///
    /// # Errors
    /// The machine is not prepared.
    pub fn kubectl_command(&self) -> Result<Command> {
        let mut kubectl = Command::new(layout::programs()?.join("k8s"));
        kubectl.arg("kubectl").env("KUBECONFIG", self.kubeconfig());
        Ok(kubectl)
    }

    /// Applies YAML documents.
    ///
    /// # Errors
    /// The API server refuses one of them.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        command::run_with_input(self.kubectl_command()?.args(["apply", "-f", "-"]), yaml.into())
    }

    /// Applies a file of YAML documents, or a directory of such files.
    ///
    /// # Errors
    /// The API server refuses one of them.
    pub fn apply_path(&self, path: &Path) -> Result<String> {
        command::run(self.kubectl_command()?.args(["apply", "-f"]).arg(path))
    }

    /// Deletes what YAML documents describe, and waits until it is gone. What is not there is fine.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn delete(&self, yaml: &str) -> Result<String> {
        let arguments = ["delete", "--ignore-not-found", "--timeout=60s", "-f", "-"];
        command::run_with_input(self.kubectl_command()?.args(arguments), yaml.into())
    }

    /// Makes an image known to every node.
    ///
    /// # Errors
    /// The archive cannot be read, or a node is off.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        std::thread::scope(|scope| {
            let loads: Vec<_> = self.nodes().map(|node| scope.spawn(move || node.load_image(archive))).collect();
            loads.into_iter().try_for_each(|load| load.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    /// Waits until every node is Ready.
    ///
    /// # Errors
    /// [`Error::Deadline`], with the nodes that are not.
    pub async fn nodes_ready(&self, deadline: Duration) -> Result<()> {
        let api: Api<NodeObject> = Api::all(self.kube().await?);
        let wanted: Vec<_> = self.nodes().map(|node| node.name()).collect();
        eventually(deadline, "every node Ready", async || {
            let nodes = api.list(&ListParams::default()).await?;
            let ready: Vec<_> = nodes.iter().filter(|node| is_ready(node)).map(ResourceExt::name_any).collect();
            let missing: Vec<_> = wanted.iter().filter(|name| !ready.contains(name)).collect();
            if missing.is_empty() { Ok(()) } else { Err(Error::Refused(format!("not Ready: {missing:?}"))) }
        })
        .await
    }
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
