//! The UDP sockets of the gossip between the agents.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use ::ownership::session::MAX_DATAGRAM;
use nix::errno::Errno;
use nix::sys::socket::SockaddrStorage;
use socket2::{Domain, Socket, Type};

use crate::kernel::polled_socket::PolledSocket;

/// How often a port is looked for that is free in both families.
const ATTEMPTS: usize = 8;

/// A UDP socket for each family.
///
/// One socket for both would see IPv4 peers under mapped addresses, and could not be opened on hosts without IPv6.
#[derive(Debug)]
pub struct Gossip {
    port: u16,
    v4: PolledSocket,
    /// Absent where the host has no IPv6.
    v6: Option<PolledSocket>,
}

impl Gossip {
    /// Listens on this port of every own address; needs a tokio runtime. Port 0 stands for any free one.
    ///
    /// # Errors
    ///
    /// When the port is taken, which the error says, or the kernel refuses.
    pub fn bind(port: u16) -> io::Result<Self> {
        let mut result = Self::attempt(port);
        for _ in 1..ATTEMPTS {
            // A port that is free in one family may be taken in the other.
            if port != 0 || !matches!(&result, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                break;
            }
            result = Self::attempt(port);
        }
        result
    }

    fn attempt(port: u16) -> io::Result<Self> {
        let (v4, port) = open((Ipv4Addr::UNSPECIFIED, port).into())?;
        let v6 = match open((Ipv6Addr::UNSPECIFIED, port).into()) {
            Ok((socket, _)) => Some(PolledSocket::new(socket)?),
            Err(error) if is_without_ipv6(&error) => {
                tracing::debug!(op = "gossip", %error, "no IPv6 on this host");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { port, v4: PolledSocket::new(v4)?, v6 })
    }

    /// The port on which it listens.
    #[must_use]
    pub const fn local_port(&self) -> u16 {
        self.port
    }

    /// Waits until there may be a datagram; [`Self::receive`] must follow.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn ready(&self) -> io::Result<()> {
        let Some(v6) = &self.v6 else { return self.v4.ready().await };
        tokio::select! {
            ready = self.v4.ready() => ready,
            ready = v6.ready() => ready,
        }
    }

    /// Receives at most `limit` datagrams without waiting. If there are more, [`Self::ready`] returns at once.
    /// One that is too long is cut off after its first byte too many.
    pub fn receive(&mut self, limit: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut buffer = [0; MAX_DATAGRAM + 1];
        let mut received = Vec::new();
        let mut tried: usize = 0;
        let mut open: Vec<_> = [Some(&mut self.v4), self.v6.as_mut()].into_iter().flatten().collect();
        // The families take turns, so that a flood of one does not drown the other.
        while !open.is_empty() {
            open.retain_mut(|socket| {
                let more = tried >= limit;
                socket.set_more(more);
                if more {
                    return false;
                }
                tried = tried.saturating_add(1);
                match socket.read::<SockaddrStorage>(&mut buffer) {
                    Ok((length, from)) => {
                        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                        received.extend(from.as_ref().and_then(address).map(|from| (from, bytes)));
                    }
                    Err(Errno::EAGAIN) => return false,
                    Err(errno) => tracing::debug!(op = "gossip", %errno, "cannot receive"),
                }
                true
            });
        }
        received
    }

    /// Sends a datagram without waiting, through the socket of its family.
    ///
    /// # Errors
    ///
    /// When there is no route to the destination, the family is absent, or a queue is full.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let socket = match to {
            SocketAddr::V4(_) => &self.v4,
            SocketAddr::V6(_) => self.v6.as_ref().ok_or(Errno::EAFNOSUPPORT)?,
        };
        Ok(socket.send(&SockaddrStorage::from(to), bytes)?)
    }
}

fn open(address: SocketAddr) -> io::Result<(OwnedFd, u16)> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into()).map_err(|error| {
        let port = address.port();
        if error.kind() == io::ErrorKind::AddrInUse {
            io::Error::new(error.kind(), format!("UDP port {port} is taken by another program: {error}"))
        } else {
            error
        }
    })?;
    let port = socket.local_addr()?.as_socket().map_or(address.port(), |address| address.port());
    Ok((socket.into(), port))
}

/// Whether the host has no IPv6, because it is not compiled in or is disabled.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

fn address(from: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = from.as_sockaddr_in().map(|from| SocketAddr::V4((*from).into()));
    v4.or_else(|| from.as_sockaddr_in6().map(|from| SocketAddr::V6((*from).into())))
}
