//! Tests of the whole allocator against a simulated API server and simulated sidecars.

mod api_server;
mod external;
mod external_faults;
mod external_model;
mod fixtures;
mod groups;
mod grpc;
mod leaders;
mod model;
mod multi_pool;
mod pinned;
mod replica;
mod sharing;
mod sidecar;
mod single;
