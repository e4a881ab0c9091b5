//! The protocol between the allocator and an IPAM sidecar: gRPC over a Unix socket, without TLS.
//!
//! `proto/purelb/ipam/v1/ipam.proto` defines it, for sidecars in any language.
//!
//! | Module | Holds |
//! |---|---|
//! | [`message`] | the messages |
//! | [`client`] | the client, for the allocator |
//! | `connection` | the connection to a socket, and what is wrong with it if there is none |
//! | `server` | the server, for a sidecar (feature `server`) |
//! | `example` | an IPAM that gives addresses of fixed ranges (feature `server`) |
//! | `allocations` | what the example has given, and to whom |
//! | `habits` | bad habits of sidecars, for tests (feature `server`) |
//! | `conformance` | checks of what every sidecar has to do (feature `server`) |
//! | `state_file` | the file in which the example keeps that |

pub mod client;
mod connection;
pub mod message;

#[cfg(feature = "server")]
pub mod allocations;
#[cfg(feature = "server")]
pub mod conformance;
#[cfg(feature = "server")]
pub mod example;
#[cfg(feature = "server")]
pub mod habits;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod state_file;

/// The full name of the gRPC service.
pub const SERVICE: &str = "purelb.ipam.v1.IPAM";
/// The path of the call that gives addresses.
pub const ALLOCATE: &str = "/purelb.ipam.v1.IPAM/Allocate";
/// The path of the call that takes addresses back.
pub const RELEASE: &str = "/purelb.ipam.v1.IPAM/Release";
/// The path of the call that reports numbers.
pub const STATS: &str = "/purelb.ipam.v1.IPAM/Stats";
/// The path of the call that lists allocations.
pub const LIST: &str = "/purelb.ipam.v1.IPAM/List";

/// The socket of a ServiceGroup that names none.
pub const DEFAULT_SOCKET: &str = "/var/run/purelb/ipam.sock";

pub use tonic::{Code, Status};
