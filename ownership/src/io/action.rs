//! What comes out of the machine: what the edge is to do.

use std::net::{IpAddr, SocketAddr};

use crate::io::notification::Notification;
use crate::model::link::LinkId;
use crate::model::node::Mac;

/// What the edge is to do. A call of the machine returns its actions in the order in which they must be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram by UDP.
    Send {
        /// The endpoint.
        to: SocketAddr,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Ask on a link for an address.
    Probe {
        /// The link.
        link: LinkId,
        /// The address.
        target: IpAddr,
        /// The MAC to send the question to; nothing means broadcast, or the solicited-node group.
        to: Option<Mac>,
        /// What is asked.
        kind: ProbeKind,
    },
    /// Put the address into the kernel (`nodad`); must be done before the next action is begun.
    Add {
        /// The address.
        address: IpAddr,
        /// The link.
        link: LinkId,
    },
    /// Take the address out of the kernel; must be done before the next action is begun.
    Remove {
        /// The address.
        address: IpAddr,
        /// The link, if it is known; else wherever the address is.
        link: Option<LinkId>,
    },
    /// Renew the lifetime of every adopted address now.
    Renew,
    /// Gratuitous ARP (request and reply form) or unsolicited NA, once.
    Announce {
        /// The address.
        address: IpAddr,
        /// The link.
        link: LinkId,
    },
    /// Ask a host for its address, from an address of this node: an ordinary ARP request, or a neighbour solicitation with
    /// the source's hardware address. Whoever is asked must note who asks (RFC 826; RFC 4861 7.2.3), also a host that
    /// ignores announcements.
    Introduce {
        /// The address that asks.
        address: IpAddr,
        /// The link.
        link: LinkId,
        /// The host.
        host: IpAddr,
        /// The MAC to send the question to; nothing means broadcast, or the solicited-node group.
        to: Option<Mac>,
    },
    /// Read the VIPs in the kernel and give [`Event::Kernel`](crate::Event::Kernel).
    ReadKernel,
    /// Report to people: log, metric, Kubernetes event.
    Notify(Notification),
}

/// What is asked by a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeKind {
    /// Does any host have this VIP? ARP probe (sender 0.0.0.0); NS from an own link-local or global source, to the
    /// solicited-node group, and to the MAC too if one is given.
    Duplicate,
    /// Are you there? ARP request from the own address; NS. Unicast if a MAC is given.
    Reach,
}
