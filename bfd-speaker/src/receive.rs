//! The sockets of the ports 3784 and 4784.

use std::io::{Error, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use bfd::{Datagram, Hops};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_indextoname;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// Long enough for a packet with the longest authentication, which is refused by its right name.
const LONGEST: usize = 128;

/// What one socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// IPv6 or IPv4.
    pub ipv6: bool,
    /// Its number.
    pub hops: Hops,
}

impl Port {
    /// As people call the family.
    pub const fn family(self) -> &'static str {
        if self.ipv6 { "IPv6" } else { "IPv4" }
    }

    /// Opens it, on all of the node's addresses. It is not shared with another program: only one can answer.
    ///
    /// # Errors
    /// When another program has the port.
    pub fn open(self) -> Result<Socket, Error> {
        let (domain, any) = if self.ipv6 {
            (Domain::IPV6, IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        } else {
            (Domain::IPV4, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
        };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if self.ipv6 {
            socket.set_only_v6(true)?;
            socket.set_recv_hoplimit_v6(true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        socket.bind(&SocketAddr::new(any, self.hops.port()).into())?;
        Ok(socket)
    }

    /// Gives the next datagram to `handle`; `false` if there is none. One that lacks what is needed is skipped.
    pub fn receive(self, socket: &Socket, handle: impl FnOnce(Datagram<'_>)) -> bool {
        let mut bytes = [0; LONGEST];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut control = cmsg_space!(libc::in6_pktinfo, libc::c_int, libc::c_int);
        let message = match recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(message) => message,
            Err(Errno::EINTR) => return true,
            Err(_) => return false,
        };
        let (mut ttl, mut place) = (None, None);
        for part in message.cmsgs().into_iter().flatten() {
            match part {
                ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) => {
                    ttl = u8::try_from(value).ok();
                }
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let destination = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                    // Broadcasts and groups are delivered by another address than they are for.
                    let own = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
                    place = u32::try_from(info.ipi_ifindex)
                        .ok()
                        .filter(|_| own)
                        .map(|index| (IpAddr::V4(destination), index));
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    let destination = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    place = Some((IpAddr::V6(destination), info.ipi6_ifindex)).filter(|_| !destination.is_multicast());
                }
                _ => {}
            }
        }
        let source = message.address.as_ref().and_then(address);
        let length = message.bytes;
        if let (Some(source), Some(ttl), Some((destination, index))) = (source, ttl, place) {
            let interface = if_indextoname(index).ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
            let bytes = bytes.get(..length).unwrap_or_default();
            handle(Datagram { source, interface: &interface, destination, hops: self.hops, ttl, bytes });
        }
        true
    }
}

fn address(storage: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}
