//! A real Kubernetes cluster on one Linux machine, for tests, benchmarks and trying things by hand.
//!
//! Each host is a process with namespaces of its own: a switch, a top-of-rack router (FRR), a client, the control
//! plane, and nodes with containerd, kubelet, kube-proxy and the BIRD of a calico-node. Root and what `e2e/prepare.sh`
//! installs are all it needs. A test begins like this:
//!
//! ```no_run
//! # async fn example() -> e2e::Result<()> {
//! let cluster = e2e::Cluster::shared().await?;
//! let client = cluster.kube().await?;
//! # Ok(()) }
//! ```
//!
//! The modules, each of which imports only from those above it:
//!
//! | Module | Contents |
//! |---|---|
//! | `base` | small tools: errors, waiting for a condition, programs, processes, HTTP |
//! | `topology` | the hosts of a cluster, their names, addresses and paths |
//! | `hosts` | namespaces, mounts, cables, services of one host |
//! | `kubernetes` | the control plane, its credentials, the way to it |
//! | `routing` | what the router (FRR) has learned by BGP, and what calico-node does with BIRD |
//! | `nodes` | a Kubernetes node, and the agent on it |
//! | `observers` | ARP and neighbour discovery, TCP connections, kernel notifications; the client host |
//! | `cluster` | a whole cluster: what its hosts consist of, its start, the installation in it, its end |
//! | `faults` | lost frames, foreign hosts, frozen agents, busy hosts, forged datagrams, a blocked API server |
//! | `measurement` | many Services at once, memory and processor time |
//! | `operators` | programs with bad habits that share the cluster |
//! | [`testing`] | the shared clusters, and helpers of the tests |
//!
//! What a test uses:
//!
//! - [`Cluster`]: start, find, share, repair and stop a cluster; `kubectl`; the load balancer of this checkout.
//! - [`Host`]: run programs in a host, read its addresses and routes, signal its processes.
//! - [`Node`], [`Router`], [`Client`], [`ControlPlane`]: hosts with more abilities.
//! - [`ArpMonitor`], [`Connector`], [`KernelLog`]: observers.
//! - [`Fault`], [`ForeignHost`], [`FrozenAgent`], [`Busy`], [`Datagram`], [`ApiProxy`], [`SpareLink`]: what a test changes.
//! - [`eventually`]: wait for a condition.
//! - [`Operator`], [`OurWrites`]: programs with bad habits, and what ours write meanwhile.
//! - [`BulkServices`], [`AddressWatch`], [`Memory`], [`processor_time`]: measurement.

mod base;
mod cluster;
mod faults;
mod hosts;
mod kubernetes;
mod measurement;
mod nodes;
mod observers;
mod operators;
mod routing;
pub mod testing;
mod topology;

pub use api_types::Family;
pub use base::{
    error::{Error, Result},
    http::http_get,
    wait::{eventually, eventually_blocking},
};
pub use cluster::{
    handle::Cluster,
    installation::{NAMESPACE, checkout},
};
pub use faults::{
    api_proxy::{ApiProxy, HeldRequest},
    busy::Busy,
    datagrams::Datagram,
    foreign_host::ForeignHost,
    frames::{Fault, GOSSIP_PORT},
    frozen_agent::FrozenAgent,
};
pub use hosts::{
    boot,
    host::Host,
    network_state::{InterfaceAddress, KernelRoute, NextHop},
};
pub use kubernetes::{control_plane::ControlPlane, forward};
pub use measurement::{
    address_watch::AddressWatch,
    result::BenchResult,
    services::{BulkServices, ServiceMetadata, ServiceObject},
    usage::{Memory, processor_time},
};
pub use nix::sys::signal::Signal;
pub use nodes::{node::Node, spare_link::SpareLink};
pub use observers::{
    acceptor::Acceptor,
    client::Client,
    connector::{Connections, Connector},
    kernel_log::{KernelChange, KernelLog},
    neighbor::{
        frames::{MessageKind, NeighborMessage},
        monitor::ArpMonitor,
        observations::Observations,
    },
};
pub use operators::{
    groups::EditedGroup,
    operator::{Operator, Targets},
    our_writes::OurWrites,
};
pub use routing::{
    calico,
    router::{BfdSession, BgpRoute, FollowedBfd, Router},
};
pub use topology::{
    host_id::{HostId, MOST_NODES},
    layout::Layout,
    mac::Mac,
};
