//! Hearing ARP and neighbour discovery on one interface.

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

/// Frames read by one call: more are left for the next, so that a storm cannot keep the caller from everything else.
const FRAMES: usize = 512;
/// Longer than any question or answer; the rest of a longer one is cut off, so that its checksum is wrong.
const LONGEST: usize = 2048;

/// Hears what other hosts ask and answer on one interface; needs `CAP_NET_RAW`.
///
/// One socket for ARP and one for IPv6, not one for all protocols. That one would hear our own frames too, at the
/// price of a copy of each frame that the host sends, its filter would run on all traffic of the node, and it would
/// hear frames before the kernel has sorted out VLANs. These two hear what the kernel's own ARP and neighbour
/// discovery hear.
///
/// While the interface is down nothing is heard, and after it is up again everything; after it is gone, nothing ever
/// again: an interface of the same name is another one.
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
            arp: ear(index, ETH_P_ARP, &filter::arp())?,
            neighbours: ear(index, ETH_P_IPV6, &filter::neighbours())?,
            groups: Groups::new(index),
            buffer: Box::new([0; LONGEST]),
        })
    }

    /// Waits until there may be something to hear; [`Self::receive`] must follow.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn ready(&self) -> io::Result<()> {
        tokio::select! {
            ready = self.arp.ready() => ready,
            ready = self.neighbours.ready() => ready,
        }
    }

    /// What was heard until now, with the hardware address of its sender, without waiting. `own` is the interface's.
    ///
    /// A question with a sender is followed by an announcement of the sender's address. At most some hundred frames;
    /// if there are more, [`Self::ready`] returns at once.
    pub fn receive(&mut self, own: Mac) -> Vec<(Mac, NeighborFrame)> {
        let mut heard = Vec::new();
        for ear in [&mut self.arp, &mut self.neighbours] {
            let mut more = true;
            // Half of them each: a storm of one protocol leaves the other audible.
            for _ in 0..FRAMES / 2 {
                match ear.read::<()>(&mut self.buffer[..]) {
                    Ok((length, _)) => {
                        let frame = self.buffer.get(..length).unwrap_or_default();
                        // Our own come back in a network with a loop.
                        let Some((mac, frame)) = decode(frame, own).filter(|(mac, _)| *mac != own) else { continue };
                        heard.push((mac, frame));
                        // It also says where the asker has its address: if that is ours, there are two (RFC 5227, 2.4).
                        if let NeighborFrame::Request { sender: Some(sender), .. } = frame {
                            heard.push((mac, NeighborFrame::Announcement(sender)));
                        }
                    }
                    Err(Errno::EAGAIN) => {
                        more = false;
                        break;
                    }
                    // Said once each time the interface goes down; frames from before may follow.
                    Err(errno) => tracing::debug!(op = "hear", %errno, "cannot hear"),
                }
            }
            ear.set_more(more);
        }
        heard
    }

    /// Hears questions for this address from now on, as its holder would (RFC 4861, 7.2.1). To be left as often as
    /// it was joined. What goes wrong is only logged: most networks carry groups to everybody.
    pub fn join(&mut self, target: Ipv6Addr) {
        self.groups.join(target);
    }

    /// Does not need to hear questions for this address any more.
    pub fn leave(&mut self, target: Ipv6Addr) {
        self.groups.leave(target);
    }
}

/// A socket for one protocol on one interface. Until it is bound it has no protocol and hears nothing, so that
/// neither frames of other interfaces nor unfiltered ones come in.
fn ear(index: u32, protocol: i32, filter: &[SockFilter]) -> Result<PolledSocket, Errno> {
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
