//! A netlink socket: bytes out, messages in.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use netlink_packet_core::NetlinkMessage;
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use socket2::SockRef;

use super::filter;

/// How long to wait for an answer. The kernel answers at once or not at all.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);

/// Bytes of messages that may wait to be read. A value beyond the system's limit needs `CAP_NET_ADMIN`, which every
/// user of this socket has.
const BUFFER: usize = 8 << 20;

/// A datagram of the kernel is at most this long.
const DATAGRAM: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket for requests. Reading waits for up to [`DEADLINE`].
    pub(super) fn requests() -> Result<Self, Errno> {
        let socket = Self::open(SockFlag::empty(), 0)?;
        let seconds = i64::try_from(DEADLINE.as_secs()).unwrap_or(30);
        setsockopt(&socket.fd, sockopt::ReceiveTimeout, &TimeVal::new(seconds, 0))?;
        Ok(socket)
    }

    /// A socket for notifications of these groups (a bit each), of routes only those of default routes. Reading
    /// never waits.
    pub(super) fn notifications(groups: u32) -> Result<Self, Errno> {
        let socket = Self::open(SockFlag::SOCK_NONBLOCK, groups)?;
        if let Err(error) = SockRef::from(&socket.fd).attach_filter(&filter::program()) {
            tracing::debug!(op = "netlink", %error, "the filter is not set: notifications of all routes are received");
        }
        Ok(socket)
    }

    fn open(flags: SockFlag, groups: u32) -> Result<Self, Errno> {
        let flags = flags | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
        if let Err(errno) = setsockopt(&fd, sockopt::RcvBufForce, &BUFFER) {
            tracing::debug!(op = "netlink", %errno, "the receive buffer stays small");
        }
        if let Err(errno) = setsockopt(&fd, sockopt::SndBufForce, &BUFFER) {
            tracing::debug!(op = "netlink", %errno, "the send buffer stays small");
        }
        // The kernel chooses the port.
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { fd, buffer: vec![0; DATAGRAM] })
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        sendto(self.fd.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()).map(|_| ())
    }

    /// Reads the messages of one datagram. Those that cannot be decoded are left out.
    pub(super) fn receive(&mut self) -> Result<Vec<NetlinkMessage<RouteNetlinkMessage>>, Errno> {
        let length = loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => break result?,
            }
        };
        Ok(messages(self.buffer.get(..length).unwrap_or_default()))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

/// The length of a message's header.
const HEADER: usize = 16;

fn messages(mut bytes: &[u8]) -> Vec<NetlinkMessage<RouteNetlinkMessage>> {
    let mut found = Vec::new();
    while bytes.len() >= HEADER {
        let Some(length) =
            bytes.first_chunk::<4>().and_then(|length| usize::try_from(u32::from_ne_bytes(*length)).ok())
        else {
            break;
        };
        let Some(message) = bytes.get(..length).filter(|_| length >= HEADER) else { break };
        match NetlinkMessage::deserialize(message) {
            Ok(message) => found.push(message),
            Err(error) => tracing::debug!(op = "netlink", %error, "message not understood"),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_datagrams_end_the_reading() {
        assert!(messages(&[]).is_empty());
        assert!(messages(&[0; 64]).is_empty());
        assert!(messages(&[0xff; 64]).is_empty());
        let mut done = vec![20, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(messages(&done).len(), 1);
        done.extend([200, 0, 0, 0]);
        assert_eq!(messages(&done).len(), 1);
    }
}
