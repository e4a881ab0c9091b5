//! Notifications of the kernel.

use netlink_packet_core::{NLM_F_REPLACE, NetlinkPayload};
use nix::errno::Errno;
use runtime::BootTime;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::decode;
use super::error::KernelError;
use super::socket::Socket;
use crate::model::observed::Change;

/// Bits of `RTNLGRP_LINK`, `_IPV4_IFADDR`, `_IPV6_IFADDR`.
const ADDRESSES: u32 = 1 | 1 << 4 | 1 << 8;
/// Bits of `RTNLGRP_IPV4_ROUTE`, `_IPV6_ROUTE`.
const ROUTES: u32 = 1 << 6 | 1 << 10;

/// The notifications that were read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// Some were lost, so that everything must be read from the kernel.
    pub lost: bool,
}

/// Receives the kernel's notifications.
#[derive(Debug)]
pub struct Monitor {
    socket: AsyncFd<Socket>,
}

impl Monitor {
    /// Listens from now on; needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn open() -> Result<Self, KernelError> {
        Self::with_groups(ADDRESSES | ROUTES)
    }

    /// Listens from now on, to changes of links and addresses only; needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn of_addresses() -> Result<Self, KernelError> {
        Self::with_groups(ADDRESSES)
    }

    fn with_groups(groups: u32) -> Result<Self, KernelError> {
        let socket = Socket::notifications(groups)?;
        #[allow(unsafe_code, reason = "the socket owns its descriptor and never replaces it")]
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        let socket = registered.map_err(|error| {
            KernelError::Socket(error.into_parts().1.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
        })?;
        Ok(Self { socket })
    }

    /// Waits until there may be notifications; [`Self::read`] must follow.
    ///
    /// # Errors
    ///
    /// When the runtime shuts down.
    pub async fn wait(&self) -> std::io::Result<()> {
        // Cleared before reading: notifications that come meanwhile make the socket ready again.
        self.socket.readable().await.map(|mut guard| guard.clear_ready())
    }

    /// Reads all notifications that have come, without waiting.
    pub fn read(&mut self) -> Notifications {
        let mut notifications = Notifications::default();
        loop {
            let now = BootTime::now();
            let result = self.socket.get_mut().receive();
            match result {
                Ok(messages) => {
                    for message in messages {
                        match message.payload {
                            NetlinkPayload::InnerMessage(inner) => {
                                let change = decode::change(inner, now);
                                // The kernel does not report the deletion of a route
                                // that `ip route replace` replaces.
                                notifications.changes.extend(change.map(|change| match change {
                                    Change::Route(route) if message.header.flags & NLM_F_REPLACE != 0 => {
                                        Change::Replacement(route)
                                    }
                                    other => other,
                                }));
                            }
                            NetlinkPayload::Overrun(_) => notifications.lost = true,
                            _ => {}
                        }
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::ENOBUFS) => notifications.lost = true,
                Err(errno) => {
                    tracing::warn!(op = "netlink", %errno, "cannot read notifications");
                    notifications.lost = true;
                    break;
                }
            }
        }
        notifications
    }
}
