//! Why the holders of an address rule out one more.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use crate::model::{Port, ServiceName};

/// A Service that holds an address, as the owner of another Service may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherService {
    name: ServiceName,
    visible: bool,
}

impl OtherService {
    /// The holder, for the owner of `service`.
    #[must_use]
    pub fn new(holder: &ServiceName, service: &ServiceName) -> Self {
        Self { name: holder.clone(), visible: holder.namespace() == service.namespace() }
    }
}

impl fmt::Display for OtherService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.visible { self.name.fmt(f) } else { f.write_str("a Service of another namespace") }
    }
}

/// Why a Service may not hold an address (specification, allocation.md 7).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Other Services use its sharing key with another address of the group.
    #[error("sharing key {key:?} is already bound to {bound} in this group, so {address} cannot be used with it")]
    KeyElsewhere {
        /// The key.
        key: String,
        /// The address to which the key is bound.
        bound: IpAddr,
        /// The address that was requested.
        address: IpAddr,
    },
    /// A Service without the same key holds it.
    #[error(
        "can't change sharing key of {address}, which is already in use by {holder}: to share it, set the same annotation purelb.io/allow-shared-ip on both Services"
    )]
    Taken {
        /// The address that was requested.
        address: IpAddr,
        /// The holder.
        holder: OtherService,
    },
    /// Another sharer listens on one of its ports.
    #[error(
        "port {port} is already in use by {holder} on {address}: use another port, or another value of the annotation purelb.io/allow-shared-ip to get another address"
    )]
    Port {
        /// The port.
        port: Port,
        /// The Service that listens on it.
        holder: OtherService,
        /// The address that was requested.
        address: IpAddr,
    },
    /// It is not for Services, or not for this one.
    #[error("{address} is {whose}: name another address")]
    Reserved {
        /// The address that was requested.
        address: IpAddr,
        /// Whose it is.
        whose: String,
    },
}

impl Refusal {
    /// The value of the label `reason` of `purelb_address_pool_allocation_rejected_total`.
    #[must_use]
    pub const fn metric(&self) -> &'static str {
        match self {
            Self::KeyElsewhere { .. } | Self::Taken { .. } => "sharing_key_conflict",
            Self::Port { .. } => "port_conflict",
            Self::Reserved { .. } => "reserved",
        }
    }

    /// The Service that rules it out, whoever may see its name.
    #[must_use]
    pub const fn holder(&self) -> Option<&ServiceName> {
        match self {
            Self::Taken { holder, .. } | Self::Port { holder, .. } => Some(&holder.name),
            Self::KeyElsewhere { .. } | Self::Reserved { .. } => None,
        }
    }
}
