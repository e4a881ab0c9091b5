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

/// What one reading gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// Some were lost: everything must be read anew.
    pub lost: bool,
}

/// Hears what changes in the kernel.
#[derive(Debug)]
pub struct Monitor {
    socket: AsyncFd<Socket>,
}

impl Monitor {
    /// Listens from now on; needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> Result<Self, KernelError> {
        Self::hearing(ADDRESSES | ROUTES)
    }

    /// Listens from now on to what concerns links and addresses only; needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn of_addresses() -> Result<Self, KernelError> {
        Self::hearing(ADDRESSES)
    }

    fn hearing(groups: u32) -> Result<Self, KernelError> {
        let socket = Socket::notifications(groups)?;
        #[allow(unsafe_code, reason = "the socket owns its descriptor and never replaces it")]
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        let socket = registered.map_err(|error| {
            KernelError::Socket(error.into_parts().1.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
        })?;
        Ok(Self { socket })
    }

    /// Waits until there is something to hear; [`Self::read`] must follow.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn wait(&self) -> std::io::Result<()> {
        // Cleared before reading: what comes while `hear` reads makes the socket ready again.
        self.socket.readable().await.map(|mut guard| guard.clear_ready())
    }

    /// Reads everything there is, without waiting.
    pub fn read(&mut self) -> Notifications {
        let mut heard = Notifications::default();
        loop {
            let now = BootTime::now();
            let result = self.socket.get_mut().receive();
            match result {
                Ok(messages) => {
                    for message in messages {
                        match message.payload {
                            NetlinkPayload::InnerMessage(inner) => {
                                let change = decode::change(inner, now);
                                // The kernel reports no deletion of what `ip route replace` replaces.
                                heard.changes.extend(change.map(|change| match change {
                                    Change::Route(route) if message.header.flags & NLM_F_REPLACE != 0 => {
                                        Change::Replacement(route)
                                    }
                                    other => other,
                                }));
                            }
                            NetlinkPayload::Overrun(_) => heard.lost = true,
                            _ => {}
                        }
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::ENOBUFS) => heard.lost = true,
                Err(errno) => {
                    tracing::warn!(op = "netlink", %errno, "cannot hear what changes");
                    heard.lost = true;
                    break;
                }
            }
        }
        heard
    }
}
