//! Tests of the index against a simulated API server.

mod external;
mod external_faults;
mod external_model;
mod grpc;
mod model;
mod rows;
mod server;
mod sidecar;
