//! The IPv6 groups on which questions for an address arrive.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use socket2::{Domain, Socket, Type};

use super::frames::solicited_node;

/// Groups that are joined at the same time. The kernel has a limit of its own (`net.core.optmem_max`).
const LIMIT: usize = 256;

/// Memberships in solicited-node groups on one interface. They open the hardware's filter, and the kernel reports
/// them to switches that watch MLD (RFC 4541, 3). The socket of the memberships receives nothing.
///
/// The kernel joins the group of a new address of the host some time after netlink has acknowledged the address.
/// With a membership that begins earlier and ends later, no question is missed.
#[derive(Debug)]
pub(super) struct Groups {
    index: u32,
    socket: Option<Socket>,
    /// How many addresses use a group. Addresses with the same last 24 bits share one.
    users: BTreeMap<Ipv6Addr, usize>,
}

impl Groups {
    pub(super) const fn new(index: u32) -> Self {
        Self { index, socket: None, users: BTreeMap::new() }
    }

    pub(super) fn join(&mut self, target: Ipv6Addr) {
        let group = solicited_node(target);
        if let Some(users) = self.users.get_mut(&group) {
            *users = users.saturating_add(1);
            return;
        }
        if self.users.len() >= LIMIT {
            tracing::debug!(op = "join", %group, index = self.index, "too many groups");
            return;
        }
        let index = self.index;
        match self.socket().and_then(|socket| socket.join_multicast_v6(&group, index)) {
            Ok(()) => {
                self.users.insert(group, 1);
            }
            Err(error) => tracing::debug!(op = "join", %group, index, %error, "not joined"),
        }
    }

    pub(super) fn leave(&mut self, target: Ipv6Addr) {
        let group = solicited_node(target);
        let Some(users) = self.users.get_mut(&group) else { return };
        *users = users.saturating_sub(1);
        if *users > 0 {
            return;
        }
        self.users.remove(&group);
        let index = self.index;
        if let Err(error) = self.socket().and_then(|socket| socket.leave_multicast_v6(&group, index)) {
            tracing::debug!(op = "leave", %group, index, %error, "not left");
        }
    }

    /// Opened when it is first used, because the host may have no IPv6.
    fn socket(&mut self) -> std::io::Result<&Socket> {
        if self.socket.is_none() {
            self.socket = Some(Socket::new(Domain::IPV6, Type::DGRAM, None)?);
        }
        self.socket.as_ref().ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }
}
