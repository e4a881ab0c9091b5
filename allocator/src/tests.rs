//! Tests of the whole allocator against a simulated API server and simulated sidecars.

mod announcing;
mod api_server;
mod external;
mod external_faults;
mod external_model;
mod fixtures;
mod giving_back;
mod groups;
mod grpc;
mod leaders;
mod life;
mod listing;
mod model;
mod multi_pool;
mod overwritten;
mod pinned;
mod provenance;
mod record_first;
mod replica;
mod reserved;
mod service_networks;
mod sharing;
mod sidecar;
mod single;
mod slow_sidecar;
