//! A socket to `nf_tables`: bytes out, datagrams in.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

/// How long to wait for an answer, in seconds. A batch waits for the batches of others.
const DEADLINE: i64 = 30;
/// Bytes that may wait to be sent or read: a batch with 10,000 addresses and some ports of each has two million.
const BUFFER: usize = 16 << 20;
/// A datagram of the kernel is at most this long.
const DATAGRAM: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket for requests. Reading waits until the deadline.
    pub(super) fn requests() -> Result<Self, Errno> {
        let socket = Self::open(SockFlag::empty(), 0)?;
        setsockopt(&socket.fd, sockopt::ReceiveTimeout, &TimeVal::new(DEADLINE, 0))?;
        Ok(socket)
    }

    /// A socket for notifications of these groups (a bit each). Reading never waits.
    pub(super) fn notifications(groups: u32) -> Result<Self, Errno> {
        Self::open(SockFlag::SOCK_NONBLOCK, groups)
    }

    fn open(flags: SockFlag, groups: u32) -> Result<Self, Errno> {
        let flags = flags | SockFlag::SOCK_CLOEXEC;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
        for outcome in [setsockopt(&fd, sockopt::RcvBufForce, &BUFFER), setsockopt(&fd, sockopt::SndBufForce, &BUFFER)]
        {
            if let Err(errno) = outcome {
                tracing::debug!(op = "nftables", %errno, "a buffer stays small");
            }
        }
        // The kernel chooses the port.
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { fd, buffer: vec![0; DATAGRAM] })
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        sendto(self.fd.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()).map(|_| ())
    }

    /// Reads one datagram.
    pub(super) fn receive(&mut self) -> Result<&[u8], Errno> {
        let length = loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                result => break result?,
            }
        };
        Ok(self.buffer.get(..length).unwrap_or_default())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
