//! Kubernetes clients from kubeconfig files.

use std::path::Path;

use kube::Client;

use crate::base::error::{Result, unexpected};

/// By what the API server knows the lab.
const USER_AGENT: &str = "purelb-lab";

/// A client with the credentials of a file: the programs' own, since kube's lets the kernel hold back the second half
/// of every request.
///
/// # Errors
/// The file cannot be read or used.
pub(crate) async fn connect(kubeconfig: &Path) -> Result<Client> {
    let client = runtime::client::connect(Some(kubeconfig), USER_AGENT).await;
    client.map_err(|error| unexpected(kubeconfig.display().to_string(), error))
}
