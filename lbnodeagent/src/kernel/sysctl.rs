//! Settings of the kernel's network stack (Linux, Documentation/networking/ip-sysctl.rst).

/// Whether the kernel answers ARP requests that arrive on the interface for addresses of other interfaces: unless
/// `arp_ignore` or `arp_filter` says otherwise. Of the value for all interfaces and the interface's own, the greater counts.
/// What cannot be read counts as the kernel's default.
#[must_use]
pub fn answers_for_others(interface: &str) -> bool {
    // The names of interfaces have no slash, so this stays below `conf`.
    let value = |scope: &str, name: &str| -> u8 {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{scope}/{name}"));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    ["arp_ignore", "arp_filter"].iter().all(|name| value("all", name).max(value(interface, name)) == 0)
}
