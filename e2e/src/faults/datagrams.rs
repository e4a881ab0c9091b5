//! Datagrams to a node: captured at its port of the switch, and injected there again, unchanged or forged. The rest of
//! the network does not notice, since no hardware address appears at another port.

use std::time::{Duration, Instant};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::{
    base::error::Result, hosts::host::Host, nodes::node::Node, observers::neighbor::socket::LinkSocket,
    topology::host_id::HostId,
};

/// A frame of Ethernet with a UDP datagram over IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    frame: Vec<u8>,
}

/// Where the UDP header begins: after 14 bytes of Ethernet and 20 of IPv4, which has no options here.
const UDP: usize = 34;

/// Where the payload begins.
const PAYLOAD: usize = UDP + 8;

impl Datagram {
    /// Reads a frame; `None` if it is not such a datagram to this port.
    fn read(frame: &[u8], port: u16) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let (NetSlice::Ipv4(ip), TransportSlice::Udp(udp)) = (packet.net?, packet.transport?) else { return None };
        let plain = ip.header().slice().len() == UDP - 14 && udp.destination_port() == port;
        plain.then(|| Self { frame: frame.to_vec() }.without_checksum())
    }

    /// A datagram with another payload, from the same to the same.
    #[must_use]
    pub fn with_payload(&self, payload: &[u8]) -> Self {
        let head = self.frame.get(..PAYLOAD).unwrap_or_default();
        let mut new = Self { frame: [head, payload].concat() };
        let length = u16::try_from(payload.len() + 8).unwrap_or(u16::MAX);
        new.write(UDP + 4, &length.to_be_bytes());
        new.write(16, &length.saturating_add(20).to_be_bytes());
        new.write(24, &[0; 2]);
        let sum = new.header_checksum();
        new.write(24, &sum.to_be_bytes());
        new
    }

    /// Its payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.frame.get(PAYLOAD..).unwrap_or_default()
    }

    /// Zero means "none" (RFC 768). A datagram captured inside one machine has none yet: hardware would add it.
    fn without_checksum(mut self) -> Self {
        self.write(UDP + 6, &[0; 2]);
        self
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.frame.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    /// Of the IPv4 header (RFC 791).
    fn header_checksum(&self) -> u16 {
        let header = self.frame.get(14..UDP).unwrap_or_default();
        let words = header.chunks(2).filter_map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?)));
        let mut sum: u32 = words.map(u32::from).sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !u16::try_from(sum).unwrap_or_default()
    }
}

impl Node {
    /// Captures up to `most` datagrams to a UDP port of this node, for at most `patience`.
    ///
    /// # Errors
    /// The node is off.
    pub fn capture_datagrams(&self, port: u16, most: usize, patience: Duration) -> Result<Vec<Datagram>> {
        let socket = self.port_of_the_switch()?;
        let end = Instant::now() + patience;
        let mut heard = Vec::new();
        while heard.len() < most && Instant::now() < end {
            // What the switch sends out of the port goes to the node.
            heard.extend(socket.receive()?.and_then(|(_, frame)| self.to_me(&frame, port)));
        }
        Ok(heard)
    }

    /// Sends datagrams to the node as if they came over the network.
    ///
    /// # Errors
    /// The node is off.
    pub fn inject_datagrams(&self, datagrams: &[Datagram]) -> Result<()> {
        let socket = self.port_of_the_switch()?;
        datagrams.iter().try_for_each(|datagram| socket.send(&datagram.frame))
    }

    fn to_me(&self, frame: &[u8], port: u16) -> Option<Datagram> {
        frame.starts_with(&self.mac().0).then(|| Datagram::read(frame, port)).flatten()
    }

    fn port_of_the_switch(&self) -> Result<LinkSocket> {
        let switch = Host::new(&self.layout, HostId::Switch);
        switch.in_network(|| LinkSocket::open(&self.id.to_string(), Duration::from_millis(20)))?
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;

    use super::*;

    fn frame(port: u16) -> Vec<u8> {
        let packet = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).udp(9, port);
        let mut frame = Vec::new();
        packet.write(&mut frame, b"hello").unwrap();
        frame
    }

    #[test]
    fn a_datagram_with_another_payload_is_one_the_kernel_takes() {
        let datagram = Datagram::read(&frame(7475), 7475).unwrap();
        assert_eq!(datagram.payload(), b"hello");
        assert_eq!(Datagram::read(&frame(53), 7475), None);
        let other = datagram.with_payload(b"good bye to you");
        let packet = SlicedPacket::from_ethernet(&other.frame).unwrap();
        let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Udp(udp))) = (packet.net, packet.transport) else {
            panic!("{other:?}")
        };
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        assert_eq!((udp.payload(), udp.checksum()), (&b"good bye to you"[..], 0));
    }
}
