//! Access to a cluster's Kubernetes: a client, `kubectl`, documents to apply and delete, images.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use kube::Client;

use crate::{
    base::{command, error::Result},
    cluster::handle::Cluster,
    kubernetes::client,
    topology::prepared,
};

impl Cluster {
    /// A client with all rights. It belongs to the runtime of the caller, so each test makes its own.
    ///
    /// # Errors
    /// The cluster's kubeconfig cannot be used.
    pub async fn kube(&self) -> Result<Client> {
        client::connect(&self.layout().kubeconfig()).await
    }

    /// The file for `KUBECONFIG=...`.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
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
        let mut kubectl = Command::new(prepared::programs()?.join("k8s"));
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
}
