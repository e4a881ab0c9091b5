//! The protocol between the allocator and an IPAM sidecar: gRPC over a Unix socket, without TLS.
//!
//! `proto/purelb/ipam/v1/ipam.proto` is the definition, for sidecars in any language.
//!
//! | Module | Holds |
//! |---|---|
//! | [`message`] | what is sent |
//! | [`client`] | the allocator's side |
//! | `server` | a sidecar's side (feature `server`) |
//! | `example` | a sidecar that serves ranges from a file (feature `server`) |

pub mod client;
pub mod message;

#[cfg(feature = "server")]
pub mod example;
#[cfg(feature = "server")]
pub mod server;

/// The name of the service.
pub const SERVICE: &str = "purelb.ipam.v1.IPAM";
/// The full name of the call for addresses.
pub const ALLOCATE: &str = "/purelb.ipam.v1.IPAM/Allocate";
/// The full name of the call that gives addresses back.
pub const RELEASE: &str = "/purelb.ipam.v1.IPAM/Release";
/// The full name of the call for numbers.
pub const STATS: &str = "/purelb.ipam.v1.IPAM/Stats";

/// The socket of a ServiceGroup that names none.
pub const DEFAULT_SOCKET: &str = "/var/run/purelb/ipam.sock";

pub use tonic::{Code, Status};
