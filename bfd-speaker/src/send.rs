//! The sockets that packets are sent from: one for each session, with a source port of its own (RFC 5881 4).

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use bfd::report::PeerReport;
use bfd::{Outgoing, PeerKey, Rng};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::log;

/// The first source port; the last is the last there is.
const FIRST: u16 = 49152;

/// So many ports are tried before it is given up until the next packet.
const ATTEMPTS: usize = 32;

/// CS6, "internetwork control", as routers mark BFD.
const TRAFFIC_CLASS: u32 = 0xc0;

/// The sockets, by our discriminator of the session.
#[derive(Debug)]
pub struct Sender {
    sockets: BTreeMap<u32, (u16, Socket)>,
    /// The ports that the process before used.
    preferred: BTreeMap<u32, u16>,
    failing: BTreeMap<u32, ErrorKind>,
    rng: Rng,
}

impl Sender {
    /// No sockets yet.
    pub fn new(rng: Rng, before: &[PeerReport]) -> Self {
        let sessions = before.iter().flat_map(|peer| &peer.sessions);
        let preferred =
            sessions.filter_map(|session| Some((session.local_discriminator, session.source_port?))).collect();
        Self { sockets: BTreeMap::new(), preferred, failing: BTreeMap::new(), rng }
    }

    /// Sends a packet. What fails is logged once; the next packet tries again.
    pub fn send(&mut self, packet: &Outgoing) {
        let id = packet.discriminator;
        match self.try_send(packet) {
            Ok(()) => drop(self.failing.remove(&id)),
            Err(error) => {
                if self.failing.insert(id, error.kind()) != Some(error.kind()) {
                    let peer = packet.peer.address.to_string();
                    log!(Warn, "cannot send to a peer", peer = peer, error = error.to_string());
                }
                // Its address may be gone; a full queue is not cured by another socket.
                if error.kind() != ErrorKind::WouldBlock {
                    self.close(id);
                }
            }
        }
    }

    fn try_send(&mut self, packet: &Outgoing) -> Result<(), Error> {
        let id = packet.discriminator;
        if !self.sockets.contains_key(&id) {
            let opened = self.open(packet)?;
            self.sockets.insert(id, opened);
        }
        let Some((_, socket)) = self.sockets.get(&id) else { return Ok(()) };
        let to = scoped(packet.peer.address, packet.hops.port(), &packet.peer)?;
        socket.send_to(&packet.bytes, &to.into())?;
        Ok(())
    }

    fn open(&mut self, packet: &Outgoing) -> Result<(u16, Socket), Error> {
        let ipv6 = packet.peer.address.is_ipv6();
        let any = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let address = packet.local_address.unwrap_or(any);
        let mut last = ErrorKind::AddrInUse.into();
        let preferred = self.preferred.get(&packet.discriminator).copied();
        for attempt in 0..ATTEMPTS {
            let offset = u16::try_from(self.rng.up_to(u32::from(u16::MAX - FIRST))).unwrap_or_default();
            let port = preferred.filter(|port| attempt == 0 && *port >= FIRST).unwrap_or(FIRST.saturating_add(offset));
            let socket = socket(ipv6)?;
            match socket.bind(&scoped(address, port, &packet.peer)?.into()) {
                Ok(()) => {
                    self.preferred.insert(packet.discriminator, port);
                    return Ok((port, socket));
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Closes the socket of a session.
    pub fn close(&mut self, discriminator: u32) {
        self.sockets.remove(&discriminator);
    }

    /// Forgets a session that has ended.
    pub fn retain(&mut self, peers: &[PeerReport]) {
        let lives =
            |id: &u32| peers.iter().flat_map(|peer| &peer.sessions).any(|session| session.local_discriminator == *id);
        self.sockets.retain(|id, _| lives(id));
        self.preferred.retain(|id, _| lives(id));
        self.failing.retain(|id, _| lives(id));
    }

    /// The source port of a session.
    pub fn port(&self, discriminator: u32) -> Option<u16> {
        self.sockets.get(&discriminator).map(|(port, _)| *port)
    }
}

fn socket(ipv6: bool) -> Result<Socket, Error> {
    let socket = Socket::new(if ipv6 { Domain::IPV6 } else { Domain::IPV4 }, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // Nothing is read from it: the kernel's least.
    socket.set_recv_buffer_size(0)?;
    // A gateway may not hand the packet on, or the peer counts on it (RFC 5881 5, RFC 5082).
    if ipv6 {
        socket.set_unicast_hops_v6(255)?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
    } else {
        socket.set_ttl_v4(255)?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
    }
    Ok(socket)
}

/// The address with the scope that a link-local one needs.
fn scoped(address: IpAddr, port: u16, peer: &PeerKey) -> Result<SocketAddr, Error> {
    match (address, peer.interface.as_deref()) {
        (IpAddr::V6(address), Some(interface)) if address.is_unicast_link_local() => {
            Ok(SocketAddrV6::new(address, port, 0, if_nametoindex(interface)?).into())
        }
        _ => Ok(SocketAddr::new(address, port)),
    }
}
