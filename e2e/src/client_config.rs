//! Kubernetes clients from kubeconfig files.

use std::path::Path;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::error::{Result, unexpected};

/// A client with the credentials of a file.
///
/// # Errors
/// The file cannot be read or used.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    let fault = |error| unexpected(kubeconfig.display().to_string(), error);
    let file = Kubeconfig::read_from(kubeconfig).map_err(fault)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(fault)?;
    Ok(Client::try_from(config)?)
}
