//! The load balancer in a cluster: the images and manifests of this checkout.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use api_types::service::ingress_addresses;
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::{
    base::{
        error::{Error, Result},
        wait::eventually,
    },
    cluster::handle::Cluster,
};

/// The namespace of the manifests.
pub const NAMESPACE: &str = "purelb";

/// What `make images` writes, one archive for each program.
const ARCHIVES: [&str; 3] =
    ["target/images/allocator.tar", "target/images/lbnodeagent.tar", "target/images/bfd-speaker.tar"];

/// A path in the checkout that this crate was built from.
#[must_use]
pub fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

impl Cluster {
    /// Makes the images of this checkout known to every node, and returns whether they are new there.
    ///
    /// # Errors
    /// `make images` was not run, or a node is off.
    pub fn load_programs(&self) -> Result<bool> {
        let mut hasher = DefaultHasher::new();
        for archive in ARCHIVES {
            let bytes = fs::read(checkout(archive)).map_err(|source| Error::System {
                what: format!("read {archive}, which `make images` writes"),
                source,
            })?;
            bytes.hash(&mut hasher);
        }
        let (digest, stamp) = (hasher.finish().to_string(), self.layout().directory().join("programs"));
        if fs::read_to_string(&stamp).is_ok_and(|loaded| loaded == digest) {
            return Ok(false);
        }
        for archive in ARCHIVES {
            self.load_image(&checkout(archive))?;
        }
        fs::write(&stamp, digest)
            .map_err(|source| Error::System { what: format!("write {}", stamp.display()), source })?;
        Ok(true)
    }

    /// Installs the load balancer as a user does, unless this very build is installed already.
    ///
    /// # Errors
    /// The images are missing, the API server refuses an object, or something does not become Ready.
    pub fn install(&self) -> Result<()> {
        let new = self.load_programs()?;
        self.apply_kustomization("manifests")?;
        if new {
            // Same name, same tag: a pod that runs the previous build would go on with it.
            self.kubectl(&[
                "rollout",
                "restart",
                "--namespace",
                NAMESPACE,
                "deployment/allocator",
                "daemonset/lbnodeagent",
                "daemonset/bfd-speaker",
            ])?;
        }
        self.installation_ready()
    }

    /// Waits until all programs run everywhere and are Ready by their probes.
    ///
    /// # Errors
    /// They are not within a minute.
    pub fn installation_ready(&self) -> Result<()> {
        for workload in ["deployment/allocator", "daemonset/lbnodeagent", "daemonset/bfd-speaker"] {
            self.kubectl(&["rollout", "status", "--namespace", NAMESPACE, "--timeout=60s", workload])?;
        }
        Ok(())
    }

    /// `kubectl apply -k` of a directory of this checkout.
    ///
    /// # Errors
    /// The API server refuses an object.
    pub fn apply_kustomization(&self, directory: &str) -> Result<String> {
        self.kubectl(&["apply", "-k", &checkout(directory).to_string_lossy()])
    }

    /// Waits until a Service has this many addresses, and returns them in their order.
    ///
    /// # Errors
    /// [`Error::Deadline`] with what it has after 20 s.
    pub async fn service_addresses(&self, namespace: &str, name: &str, count: usize) -> Result<Vec<IpAddr>> {
        let services: Api<Service> = Api::namespaced(self.kube().await?, namespace);
        eventually(Duration::from_secs(20), format!("{count} addresses of Service {namespace}/{name}"), async || {
            let service = services.get(name).await.map_err(|error| error.to_string())?;
            let addresses = ingress_addresses(&service);
            if addresses.len() == count { Ok(addresses) } else { Err(format!("{addresses:?}")) }
        })
        .await
    }
}
