//! The annotation `vip-ports`: ports of other Services that are open on an address of a Service.

use std::net::IpAddr;

/// The most entries that are written and read.
pub const MAX_VIP_PORTS: usize = 16;

/// One entry: an address, the protocol in small letters, and the port.
pub type VipPort<'a> = (IpAddr, &'a str, u16);

/// The value of the annotation; nothing without entries.
#[must_use]
pub fn vip_ports_value<'a>(entries: impl IntoIterator<Item = VipPort<'a>>) -> Option<String> {
    let texts = entries.into_iter().take(MAX_VIP_PORTS).map(|(ip, protocol, port)| format!("{ip},{protocol},{port}"));
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

/// The entries of the annotation. What is not an entry is skipped.
pub fn vip_ports(value: &str) -> impl Iterator<Item = VipPort<'_>> {
    value.split_ascii_whitespace().take(MAX_VIP_PORTS).filter_map(|entry| {
        let (ip, rest) = entry.split_once(',')?;
        let (protocol, port) = rest.split_once(',')?;
        Some((ip.parse().ok()?, protocol, port.parse().ok().filter(|port| *port > 0)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_anything_else_is_skipped() {
        let entries: [VipPort<'static>; 2] =
            [("192.0.2.1".parse().unwrap(), "tcp", 80), ("2001:db8::1".parse().unwrap(), "udp", 53)];
        let text = vip_ports_value(entries).unwrap();
        assert_eq!(text, "192.0.2.1,tcp,80 2001:db8::1,udp,53");
        assert_eq!(vip_ports(&text).collect::<Vec<_>>(), entries);
        assert_eq!(vip_ports_value([]), None);
        assert_eq!(vip_ports("x 192.0.2.1 192.0.2.1,tcp 192.0.2.1,tcp,0 192.0.2.1,tcp,70000 ,tcp,1").count(), 0);
        let many = vip_ports_value((1..30).map(|port| (entries[0].0, "tcp", port))).unwrap();
        assert_eq!(vip_ports(&format!("{many} {many}")).count(), MAX_VIP_PORTS);
    }
}
