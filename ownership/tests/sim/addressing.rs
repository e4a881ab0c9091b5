//! The addresses of nodes, hosts and Services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ownership::Mac;

pub const PORT: u16 = 7475;

pub fn vip(number: usize, v6: bool) -> IpAddr {
    let [high, low] = u16::try_from(number).unwrap().to_be_bytes();
    if v6 {
        return Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x200, u16::from_be_bytes([high, low])).into();
    }
    Ipv4Addr::new(10, 0, if high == 0 { 200 } else { 202 + high }, low).into()
}

/// The own addresses of a node, those of both families.
pub fn own(node: usize, segment: usize) -> [IpAddr; 2] {
    let number = u16::try_from(node + 1).unwrap();
    let [high, low] = number.to_be_bytes();
    let network = u16::try_from(segment).unwrap();
    [
        Ipv4Addr::new(10, u8::try_from(segment).unwrap(), high, low).into(),
        Ipv6Addr::new(0xfd00, 0, 0, network, 0, 0, 0, number).into(),
    ]
}

/// From where a node asks for IPv6 VIPs.
pub fn link_local(node: usize) -> IpAddr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::try_from(node + 1).unwrap()).into()
}

pub fn mac(host: usize, segment: usize) -> Mac {
    let [high, low] = u16::try_from(host).unwrap().to_be_bytes();
    Mac([2, 0, u8::try_from(segment).unwrap(), 0, high, low])
}

pub const CLIENT: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 0, 199, 1)), IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0x199, 1))];
/// Routers advertise themselves by their link-local addresses.
pub const GATEWAY: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 0, 199, 254)), IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x199, 0xfe))];
