//! The kernel and its sockets. No other module opens one.
//!
//! | Module | Holds |
//! |---|---|
//! | [`netlink`] | links, addresses and routes: requests, and notifications of changes |
//! | [`nftables`] | the VIP guard's rules, and kube-proxy's |
//! | [`observer`] | the observed state, kept current by notifications and compared with dumps |
//! | [`host`] | calls to the kernel from the agent, and the state that follows from them |
//! | [`marks`] | whether this kernel can mark addresses |
//! | [`packet_filter`] | calls to `nf_tables` from the agent, and changes of the rules |
//! | [`sysctl`] | settings of the network stack |
//! | [`packet`] | ARP and neighbour discovery frames |
//! | [`gossip`] | the UDP sockets of the gossip |
//! | [`polled_socket`] | a socket that is waited for and read without blocking |

pub mod gossip;
pub mod host;
pub mod marks;
pub mod netlink;
pub mod nftables;
pub mod observer;
pub mod packet;
pub mod packet_filter;
pub(crate) mod polled_socket;
pub mod sysctl;
