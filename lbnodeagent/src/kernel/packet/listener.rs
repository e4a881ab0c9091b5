//! Receiving ARP and neighbour discovery on one interface.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use ::ownership::NeighborFrame;
use nix::errno::Errno;
use nix::libc::{ETH_P_ARP, ETH_P_IPV6};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, socket};
use socket2::{SockFilter, SockRef};

use super::decode::decode;
use super::filter;
use super::frames::Mac;
use super::groups::Groups;
use super::socket::link_address;
use crate::kernel::polled_socket::PolledSocket;

/// Frames that one call reads. More are left for the next call, so that a storm does not keep the caller from other
/// work.
const FRAMES: usize = 512;
/// Longer than any question or answer. A longer frame is cut off, so that its checksum is wrong.
const LONGEST: usize = 2048;

/// Receives other hosts' questions and answers on one interface; needs `CAP_NET_RAW`.
///
/// There is one socket for ARP and one for IPv6, which receive what the kernel's own ARP and neighbour discovery
/// receive. One socket for all protocols would also receive our own frames, at the price of a copy of each frame
/// that the host sends; its filter would run on all traffic of the node; and it would receive frames before the
/// kernel has sorted out VLANs.
///
/// An interface that is down receives nothing until it is up again. After an interface is gone its listener
/// receives nothing any more, even if there is a new interface of the same name.
#[derive(Debug)]
pub struct Listener {
    arp: PolledSocket,
    neighbours: PolledSocket,
    groups: Groups,
    buffer: Box<[u8; LONGEST]>,
}

impl Listener {
    /// Listens from now on; needs a tokio runtime.
    ///
    /// # Errors
    /// When the interface is gone or the kernel refuses.
    pub fn open(index: u32) -> Result<Self, Errno> {
        Ok(Self {
            arp: open_socket(index, ETH_P_ARP, &filter::arp())?,
            neighbours: open_socket(index, ETH_P_IPV6, &filter::neighbours())?,
            groups: Groups::new(index),
            buffer: Box::new([0; LONGEST]),
        })
    }

    /// Waits until there may be a frame; [`Self::receive`] must follow.
    ///
    /// # Errors
    ///
    /// When the runtime shuts down.
    pub async fn ready(&self) -> io::Result<()> {
        tokio::select! {
            ready = self.arp.ready() => ready,
            ready = self.neighbours.ready() => ready,
        }
    }

    /// Receives the frames that have come, each with the hardware address of its sender, without waiting. `own`
    /// is the hardware address of the interface.
    ///
    /// A question with a sender is followed by an announcement of the sender's address. There are at most some
    /// hundred frames; if there are more, [`Self::ready`] returns at once.
    pub fn receive(&mut self, own: Mac) -> Vec<(Mac, NeighborFrame)> {
        let mut received = Vec::new();
        for socket in [&mut self.arp, &mut self.neighbours] {
            let mut more = true;
            // Half of the frames each, so that a storm of one protocol does not drown the other.
            for _ in 0..FRAMES / 2 {
                match socket.read::<()>(&mut self.buffer[..]) {
                    Ok((length, _)) => {
                        let frame = self.buffer.get(..length).unwrap_or_default();
                        // Our own frames come back in a network with a loop.
                        let Some((mac, frame)) = decode(frame, own).filter(|(mac, _)| *mac != own) else { continue };
                        received.push((mac, frame));
                        // A question shows where its sender has its address. If that address
                        // is ours, there are two holders (RFC 5227, 2.4).
                        if let NeighborFrame::Request { sender: Some(sender), .. } = frame {
                            received.push((mac, NeighborFrame::Announcement(sender)));
                        }
                    }
                    Err(Errno::EAGAIN) => {
                        more = false;
                        break;
                    }
                    // The kernel reports once that the interface is down. Frames from before may
                    // follow.
                    Err(errno) => tracing::debug!(op = "receive", %errno, "cannot receive frames"),
                }
            }
            socket.set_more(more);
        }
        received
    }

    /// Receives questions for this address from now on, as its holder would (RFC 4861, 7.2.1). Each call needs
    /// a matching [`Self::leave`]. Errors are only logged, because most networks deliver groups to every host.
    pub fn join(&mut self, target: Ipv6Addr) {
        self.groups.join(target);
    }

    /// Questions for this address need not be received any more.
    pub fn leave(&mut self, target: Ipv6Addr) {
        self.groups.leave(target);
    }
}

/// Opens a socket for one protocol on one interface. Until it is bound it has no protocol and receives nothing, so
/// that no frames of other interfaces and no unfiltered ones come in.
fn open_socket(index: u32, protocol: i32, filter: &[SockFilter]) -> Result<PolledSocket, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket: OwnedFd = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    SockRef::from(&socket).attach_filter(filter).map_err(|error| errno(&error))?;
    let protocol = u16::try_from(protocol).map_err(|_| Errno::EINVAL)?;
    bind(socket.as_raw_fd(), &link_address(index, protocol).ok_or(Errno::ENODEV)?)?;
    PolledSocket::new(socket).map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
