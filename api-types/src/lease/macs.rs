//! The hardware addresses of a node, by which its frames are distinguished from those of a foreign host.

use k8s_openapi::api::coordination::v1::Lease;

use super::list::{entries, join};

/// Annotation: the hardware addresses of all interfaces of the node, in lower case.
pub const MACS: &str = "purelb.io/macs";
/// How many hardware addresses of one Lease are read. Further ones are ignored.
pub const MAX_MACS: usize = 512;

/// The hardware addresses of all interfaces of the node.
#[must_use]
pub fn macs(lease: &Lease) -> Vec<[u8; 6]> {
    entries(lease, MACS).filter_map(parse).filter(|mac| names_a_host(*mac)).take(MAX_MACS).collect()
}

/// The value of [`MACS`]: sorted, without duplicates, not more than are read.
#[must_use]
pub fn macs_value(macs: &[[u8; 6]]) -> String {
    let mut sorted: Vec<[u8; 6]> = macs.iter().copied().filter(|mac| names_a_host(*mac)).collect();
    sorted.sort_unstable();
    sorted.dedup();
    let text = |[a, b, c, d, e, f]: &[u8; 6]| format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    join(sorted.iter().take(MAX_MACS).map(text))
}

/// Six bytes in hexadecimal, in upper or lower case, with colons between them.
fn parse(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// Whether it is the address of one host. Interfaces without a hardware address show zeros, and group addresses have
/// the lowest bit of the first byte set (IEEE 802).
fn names_a_host(mac: [u8; 6]) -> bool {
    let [first, ..] = mac;
    mac != [0; 6] && first & 1 == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::list::lease_with;
    use super::*;

    fn read(text: &str) -> Vec<[u8; 6]> {
        macs(&lease_with(MACS, text))
    }

    #[test]
    fn macs_are_read_in_either_case_and_written_in_lower() {
        let two = read("52:54:00:AB:cd:0f,02:00:00:00:00:01,52:54:00:ab:cd:0f");
        assert_eq!(macs_value(&two), "02:00:00:00:00:01,52:54:00:ab:cd:0f");
        let bad = "52:54:00:ab:cd,52:54:00:ab:cd:0f:01,52-54-00-ab-cd-0f,+2:54:00:ab:cd:0f,00:00:00:00:00:00,\
                   33:33:00:00:00:01,ff:ff:ff:ff:ff:ff,";
        assert_eq!(read(bad), Vec::<[u8; 6]>::new());
    }

    #[test]
    fn of_too_many_the_first_are_read() {
        let many: Vec<_> = (0..1000).map(|n| format!("02:00:00:00:{:02x}:{:02x}", n / 250, n % 250)).collect();
        assert_eq!(read(&many.join(",")).len(), MAX_MACS);
    }

    proptest! {
        /// Any text can be read, and what is written is read back as the same.
        #[test]
        fn reading_and_writing_settle(text in "[0-9a-f:./,\\[\\] ]{0,200}") {
            let written = macs_value(&read(&text));
            prop_assert_eq!(&macs_value(&read(&written)), &written);
        }

        #[test]
        fn written_is_read(
            macs in prop::collection::btree_set(any::<[u8; 6]>().prop_filter("a host's", |mac| names_a_host(*mac)), 0..20),
        ) {
            let macs: Vec<[u8; 6]> = macs.into_iter().collect();
            prop_assert_eq!(read(&macs_value(&macs)), macs);
        }
    }
}
