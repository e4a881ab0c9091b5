//! The ports of a Service.

use k8s_openapi::api::core::v1::ServiceSpec;

use crate::model::port::{Port, Protocol};

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its protocol and number.
    pub port: Port,
    /// Its name; empty if it is the only one and has none.
    pub name: Box<str>,
}

/// The ports of a Service. The API server lets no other protocols and numbers in; such ports are left out.
#[must_use]
pub fn ports(spec: Option<&ServiceSpec>) -> Box<[ServicePort]> {
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let read = ports.iter().filter_map(|port| {
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(_) => return None,
        };
        let number = u16::try_from(port.port).ok().filter(|number| *number > 0)?;
        Some(ServicePort { port: Port { protocol, number }, name: port.name.as_deref().unwrap_or_default().into() })
    });
    read.collect()
}
