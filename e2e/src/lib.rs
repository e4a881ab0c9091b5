//! A real Kubernetes cluster on one Linux machine, for tests and for a look around.
//!
//! Each host is a process with namespaces of its own: a switch, a top-of-rack router (FRR), a client, the control plane,
//! and nodes with containerd, kubelet, kube-proxy and the BIRD of a calico-node. Root and what `e2e/prepare.sh` installs
//! are all it needs. A test begins so:
//!
//! ```no_run
//! # async fn example() -> e2e::Result<()> {
//! let cluster = e2e::Cluster::shared().await?;
//! let client = cluster.kube().await?;
//! # Ok(()) }
//! ```
//!
//! What a test uses:
//!
//! - [`Cluster`]: start, find, share, repair and stop a cluster.
//! - [`Host`]: run programs in a host, see its addresses and routes, signal its processes.
//! - [`Node`]: cut it off, switch it off and on, give it images, find its agent.
//! - [`SpareLink`]: an interface that a node gets besides its own.
//! - [`Router`]: what it learned by BGP.
//! - [`Client`]: HTTP requests, ARP and neighbour discovery, [`ArpMonitor`], [`Connector`].
//! - [`KernelLog`]: every change of a host's addresses or routes, in order.
//! - [`Fault`]: frames that the switch loses; [`ForeignHost`]: somebody else who uses an address; [`Frozen`]: an agent
//!   that does nothing.
//! - [`ControlPlane`]: freeze the API server.
//! - [`eventually`]: wait for a condition.
//! - [`Replica`], [`Proxy`]: an allocator outside the cluster, and a way to the API server that can be blocked.
//! - [`Bulk`], [`Sight`]: many Services at once, and when their addresses become visible.
//! - [`Memory`], [`processor_time`]: what a process costs.
//! - [`audit`]: the rules that must hold at every moment.
//! - [`testing`]: the installed load balancer, objects that go with the test, and what to wait for.
//!
//! How it is made:
//!
//! - `host_id`, `layout`: names, addresses, paths.
//! - `plan`, `plans`: what each host consists of, as data and configuration files.
//! - `holder`, `mounts`, `supervisor`: how a host comes into being and what its first process does.
//! - `cables`: the network between the hosts.
//! - `credentials`: certificates, tokens, kubeconfigs.
//! - `start`, `stop`, `cgroups`: a cluster's beginning and end.
//! - [`calico`]: what calico-node's BIRD would export.
//! - [`forward`]: the machine's way to the API server.
//! - `kubernetes`, `client_config`: clients and `kubectl`.
//! - `connector`, `datagrams`, `fault`, `foreign`, `agent`, `order`: what is measured, what is disturbed, and who ought to answer.
//! - `neighbor`: frames of ARP and neighbour discovery.
//! - `command`, `processes`, `ip`, `wait`, `error`: the small tools of all of them.

mod agent;
pub mod audit;
mod bulk;
mod cables;
pub mod calico;
mod cgroups;
mod client;
mod client_config;
mod cluster;
mod command;
mod connector;
mod control_plane;
mod credentials;
mod datagrams;
mod error;
mod family;
mod fault;
mod foreign;
pub mod forward;
pub mod holder;
mod host;
mod host_id;
mod installation;
mod ip;
mod kernel_log;
mod kubernetes;
mod layout;
mod mac;
mod mounts;
mod neighbor;
mod node;
mod order;
mod plan;
mod plans;
mod processes;
mod proxy;
mod replica;
mod router;
mod spare;
mod start;
mod stop;
mod supervisor;
pub mod testing;
mod usage;
mod wait;

pub use agent::Frozen;
pub use api_types::Family;
pub use bulk::{Bulk, Created, Metadata, Sight};
pub use client::Client;
pub use cluster::Cluster;
pub use connector::{Acceptor, Connections, Connector};
pub use control_plane::ControlPlane;
pub use datagrams::Datagram;
pub use error::{Error, Result};

pub use fault::{Fault, GOSSIP_PORT};
pub use foreign::ForeignHost;
pub use host::Host;
pub use host_id::{HostId, MOST_NODES};
pub use installation::{NAMESPACE, checkout};
pub use ip::{InterfaceAddress, KernelRoute, NextHop};
pub use kernel_log::{KernelChange, KernelLog};
pub use layout::Layout;
pub use mac::Mac;
pub use neighbor::{ArpMonitor, Heard, Kind, Observations};
pub use nix::sys::signal::Signal;
pub use node::Node;
pub use proxy::{Held, Proxy};
pub use replica::{Replica, http_get};
pub use router::{BgpRoute, Router};
pub use spare::SpareLink;
pub use usage::{Memory, processor_time};
pub use wait::{eventually, eventually_blocking};
