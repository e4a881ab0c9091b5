//! The notification that some rules have changed.
//!
//! The kernel also describes each change, of which there are very many where kube-proxy has many Services. Only the last
//! message about a batch is received.

use nix::errno::Errno;
use nix::libc::{BPF_ABS, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, NFNLGRP_NFTABLES, NFT_MSG_NEWGEN};
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::message::kind_of;
use super::socket::Socket;
use crate::kernel::netlink::error::KernelError;

/// Where a message has its type.
const TYPE: u32 = 4;

/// Waits for changes of any rules.
#[derive(Debug)]
pub struct Monitor {
    socket: AsyncFd<Socket>,
}

impl Monitor {
    /// Listens from now on; needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel has no netfilter.
    pub fn open() -> Result<Self, KernelError> {
        let socket = Socket::notifications(1 << (NFNLGRP_NFTABLES - 1))?;
        if let Err(error) = SockRef::from(&socket).attach_filter(&filter()) {
            tracing::debug!(op = "nftables", %error, "the filter is not set: all changes are received");
        }
        #[allow(unsafe_code, reason = "the socket owns its descriptor and never replaces it")]
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        let socket = registered.map_err(|error| {
            KernelError::Socket(error.into_parts().1.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
        })?;
        Ok(Self { socket })
    }

    /// Waits until there may have been a change; [`Self::drain`] must follow.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn wait(&self) -> std::io::Result<()> {
        // Cleared before reading: a change meanwhile makes the socket ready again.
        self.socket.readable().await.map(|mut guard| guard.clear_ready())
    }

    /// Drops the notifications that have come. What is read of the rules now contains their changes, also those whose
    /// notifications were lost.
    pub fn drain(&mut self) {
        loop {
            match self.socket.get_mut().receive() {
                Ok(_) | Err(Errno::ENOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

/// Lets messages about the end of a batch through.
fn filter() -> [SockFilter; 4] {
    let code = |code: u32| u16::try_from(code).unwrap_or_default();
    // The load instruction reads two bytes as a big-endian number.
    let kind = u32::from(kind_of(NFT_MSG_NEWGEN).to_be());
    [
        SockFilter::new(code(BPF_LD | BPF_H | BPF_ABS), 0, 0, TYPE),
        SockFilter::new(code(BPF_JMP | BPF_JEQ | BPF_K), 0, 1, kind),
        SockFilter::new(code(BPF_RET | BPF_K), 0, 0, u32::MAX),
        SockFilter::new(code(BPF_RET | BPF_K), 0, 0, 0),
    ]
}
