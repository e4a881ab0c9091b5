//! Sending Ethernet frames.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket};

/// A packet socket that sends and receives nothing; needs `CAP_NET_RAW`.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> Result<Self, Errno> {
        // Without a protocol it receives nothing.
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        socket(AddressFamily::Packet, SockType::Raw, flags, None).map(Self)
    }

    /// Sends a frame, Ethernet header included, out of an interface.
    ///
    /// # Errors
    /// When the interface is down or gone, or its queue is full.
    pub fn send(&self, index: u32, frame: &[u8]) -> Result<(), Errno> {
        let address = link_address(index, 0).ok_or(Errno::EINVAL)?;
        let sent = sendto(self.0.as_raw_fd(), frame, &address, MsgFlags::empty())?;
        if sent == frame.len() { Ok(()) } else { Err(Errno::EMSGSIZE) }
    }
}

/// The socket address of an interface. For sending only its index matters. A socket that is bound to it receives
/// the frames of the protocol (an Ethernet type) there.
pub(super) fn link_address(index: u32, protocol: u16) -> Option<LinkAddr> {
    let address = nix::libc::sockaddr_ll {
        sll_family: u16::try_from(nix::libc::AF_PACKET).ok()?,
        sll_protocol: protocol.to_be(),
        sll_ifindex: i32::try_from(index).ok()?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    let length = u32::try_from(size_of_val(&address)).ok()?;
    // nix can read such an address, but has no other way to make one.
    #[allow(unsafe_code, reason = "the pointer is to a live sockaddr_ll of the given length, from which nix copies")]
    unsafe {
        LinkAddr::from_raw((&raw const address).cast(), Some(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_address() {
        let address = link_address(7, 0x0806).unwrap();
        assert_eq!((address.ifindex(), address.protocol().to_ne_bytes()), (7, [8, 6]));
        assert!(link_address(u32::MAX, 0).is_none());
    }
}
