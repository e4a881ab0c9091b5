//! `spec.externalIPs` of Services of other types: nothing else of them is kept but their ports.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service as Full;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;

use super::service::{ServiceName, external_ips};
use super::sharing::{Port, SpecPort, ports};

/// The external IPs of a Service, and the ports that it has on them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExternalIps {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// The ports.
    pub ports: Box<[Port]>,
}

/// A Service from the API server, of which only the external IPs matter.
#[derive(Debug, Clone, Deserialize, Resource)]
#[resource(inherit = Full)]
pub struct WatchedExternalIps {
    #[serde(deserialize_with = "super::metadata::metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    ports: Option<Vec<SpecPort>>,
}

impl WatchedExternalIps {
    /// Namespace and name.
    #[must_use]
    pub fn name(&self) -> ServiceName {
        let ObjectMeta { namespace, name, .. } = &self.metadata;
        ServiceName::new(namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default())
    }

    /// Its external IPs.
    #[must_use]
    pub fn external_ips(&self) -> ExternalIps {
        ExternalIps {
            addresses: external_ips(self.spec.external_ips.as_deref().unwrap_or_default()),
            ports: ports(self.spec.ports.as_deref()),
        }
    }
}
