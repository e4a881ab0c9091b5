//! The bytes of one message: a header of netlink, one of nfnetlink, and attributes (`linux/netfilter/nf_tables.h`).

use nix::libc::{NFNETLINK_V0, NFNL_SUBSYS_NFTABLES, NLA_F_NESTED};

/// The length of the header of netlink and of that of nfnetlink.
pub(super) const HEADER: usize = 16;
pub(super) const FAMILY_HEADER: usize = 4;
/// The length of an attribute's header.
const ATTRIBUTE: usize = 4;
/// Where the header has the flags and the sequence number.
const FLAGS: usize = 6;
const SEQUENCE: usize = 8;

/// A message. Its attributes are written in order.
#[derive(Debug, Clone)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A message of `nf_tables` about a table of this family.
    pub(super) fn new(kind: i32, flags: u16, family: i32) -> Self {
        Self::with_header(kind_of(kind), flags, family, 0)
    }

    /// A message of nfnetlink: what surrounds a batch names the subsystem in `resource`.
    pub(super) fn with_header(kind: u16, flags: u16, family: i32, resource: i32) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([u8::try_from(family).unwrap_or_default(), u8::try_from(NFNETLINK_V0).unwrap_or_default()]);
        bytes.extend(u16::try_from(resource).unwrap_or_default().to_be_bytes());
        Self { bytes }
    }

    /// A text, which ends with a zero byte.
    pub(super) fn text(mut self, attribute: u16, text: &str) -> Self {
        self.put(attribute, &[text.as_bytes(), &[0]].concat());
        self
    }

    /// A number of four bytes. Those of `nf_tables` are in the byte order of the network.
    pub(super) fn number(mut self, attribute: u16, number: u32) -> Self {
        self.put(attribute, &number.to_be_bytes());
        self
    }

    /// A number of eight bytes.
    pub(super) fn long(mut self, attribute: u16, number: u64) -> Self {
        self.put(attribute, &number.to_be_bytes());
        self
    }

    /// Bytes as they are.
    pub(super) fn bytes(mut self, attribute: u16, bytes: &[u8]) -> Self {
        self.put(attribute, bytes);
        self
    }

    /// An attribute that consists of attributes. It has at most 65,535 bytes.
    pub(super) fn nest(mut self, attribute: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.bytes.len();
        self.put(attribute | u16::try_from(NLA_F_NESTED).unwrap_or_default(), &[]);
        let mut filled = fill(self);
        let length = u16::try_from(filled.bytes.len() - start).unwrap_or(u16::MAX);
        filled.overwrite(start, &length.to_ne_bytes());
        filled
    }

    fn put(&mut self, attribute: u16, value: &[u8]) {
        let length = u16::try_from(ATTRIBUTE + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(attribute.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn overwrite(&mut self, at: usize, with: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + with.len()) {
            place.copy_from_slice(with);
        }
    }

    /// The whole message, with this number and these further flags.
    pub(super) fn finish(mut self, sequence: u32, flags: u16) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.overwrite(0, &length.to_ne_bytes());
        let before = self.bytes.get(FLAGS..FLAGS + 2).and_then(|bytes| bytes.first_chunk().copied());
        let flags = before.map_or(flags, |before| u16::from_ne_bytes(before) | flags);
        self.overwrite(FLAGS, &flags.to_ne_bytes());
        self.overwrite(SEQUENCE, &sequence.to_ne_bytes());
        self.bytes
    }
}

/// The type of a message of `nf_tables`.
pub(super) fn kind_of(kind: i32) -> u16 {
    u16::try_from(NFNL_SUBSYS_NFTABLES << 8 | kind).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use nix::libc::{NFPROTO_INET, NFT_MSG_NEWTABLE};

    use super::*;

    #[test]
    fn a_message_has_its_length_and_attributes_begin_at_multiples_of_four() {
        let message = Message::new(NFT_MSG_NEWTABLE, 0x400, NFPROTO_INET);
        let message = message.text(1, "purelb").nest(4, |nested| nested.number(1, 7)).finish(3, 1);
        let expected = [
            &[44, 0, 0, 0, 0, 10, 1, 4, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0][..],
            &[11, 0, 1, 0, b'p', b'u', b'r', b'e', b'l', b'b', 0, 0],
            &[12, 0, 4, 0x80, 8, 0, 1, 0, 0, 0, 0, 7],
        ];
        assert_eq!(message, expected.concat());
    }
}
