//! Why the holders of an address rule out one more.

use std::net::IpAddr;

use thiserror::Error;

use crate::model::Port;

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
        holder: String,
    },
    /// Another sharer listens on one of its ports.
    #[error("port {port} is already in use by {holder} on {address}")]
    Port {
        /// The port.
        port: Port,
        /// The Service that listens on it.
        holder: String,
        /// The address that was requested.
        address: IpAddr,
    },
}

impl Refusal {
    /// The value of the label `reason` of `purelb_address_pool_allocation_rejected_total`.
    #[must_use]
    pub const fn metric(&self) -> &'static str {
        match self {
            Self::KeyElsewhere { .. } | Self::Taken { .. } => "sharing_key_conflict",
            Self::Port { .. } => "port_conflict",
        }
    }
}
