//! A socket that is waited for and read without blocking.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockaddrLike, recvfrom, setsockopt, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Bytes that may wait to be read: a burst of some thousand small packets.
const BUFFER: usize = 1 << 20;

/// A socket that is waited for and read. It is registered with the tokio runtime in whose context it was made.
#[derive(Debug)]
pub(crate) struct PolledSocket {
    socket: AsyncFd<OwnedFd>,
    /// Something may be left to read although the runtime does not report it.
    more: bool,
}

impl PolledSocket {
    /// Takes a non-blocking socket.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        // With CAP_NET_ADMIN beyond the system's limit, without it up to the limit.
        if setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err()
            && let Err(errno) = setsockopt(&socket, sockopt::RcvBuf, &BUFFER)
        {
            tracing::debug!(op = "socket", %errno, "the receive buffer stays small");
        }
        #[allow(unsafe_code, reason = "an OwnedFd owns its descriptor and never replaces it")]
        let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self { socket: registered.map_err(|error| error.into_parts().1)?, more: false })
    }

    /// Waits until there may be something to read; reading must follow.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        if self.more {
            return Ok(());
        }
        // Cleared before reading: packets that come meanwhile make the socket ready again.
        self.socket.readable().await.map(|mut guard| guard.clear_ready())
    }

    /// Sets whether reading ended before the socket was empty.
    pub(crate) fn set_more(&mut self, more: bool) {
        self.more = more;
    }

    /// Reads one packet, even if the runtime has not reported it yet, because an answer that has arrived must
    /// count in the next decision. A packet that is longer than the buffer is cut off. `EAGAIN` means that
    /// there is none.
    pub(crate) fn read<A: SockaddrLike>(&self, buffer: &mut [u8]) -> Result<(usize, Option<A>), Errno> {
        loop {
            match recvfrom(self.socket.as_raw_fd(), buffer) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        }
    }

    /// Sends without waiting.
    pub(crate) fn send<A: SockaddrLike>(&self, to: &A, bytes: &[u8]) -> Result<(), Errno> {
        nix::sys::socket::sendto(self.socket.as_raw_fd(), bytes, to, MsgFlags::MSG_DONTWAIT).map(|_| ())
    }
}

impl AsFd for PolledSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
