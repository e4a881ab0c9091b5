//! The messages of the kernel.

use nix::errno::Errno;
use nix::libc::{NLMSG_DONE, NLMSG_ERROR};

use super::message::{FAMILY_HEADER, HEADER};

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    /// The number of the request.
    pub(super) sequence: u32,
    /// What it says.
    pub(super) content: Content<'a>,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// The request was carried out, or why not.
    Outcome(Result<(), Errno>),
    /// There is nothing more to come.
    Done,
    /// An object, with its attributes.
    Object(Attributes<'a>),
}

/// The attributes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The value of an attribute.
    pub(super) fn get(self, wanted: u16) -> Option<&'a [u8]> {
        let mut rest = self.0;
        while let Some((length, kind)) = two_numbers(rest) {
            let value = rest.get(4..usize::from(length))?;
            // The two highest bits say how it is encoded.
            if kind & 0x3fff == wanted {
                return Some(value);
            }
            rest = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        }
        None
    }

    /// A number of four bytes.
    pub(super) fn number(self, wanted: u16) -> Option<u32> {
        self.get(wanted)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// A number of eight bytes.
    pub(super) fn long(self, wanted: u16) -> Option<u64> {
        self.get(wanted)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }
}

fn two_numbers(bytes: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *bytes.first_chunk::<4>()?;
    Some((u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])))
}

/// The messages of one datagram. A damaged one ends the reading.
pub(super) fn answers(mut bytes: &[u8]) -> Vec<Answer<'_>> {
    let mut found = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, k0, k1, _, _, s0, s1, s2, s3, ..] = *header;
        let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let Some(body) = bytes.get(HEADER..length) else { break };
        let content = match i32::from(u16::from_ne_bytes([k0, k1])) {
            NLMSG_ERROR => body.first_chunk().map(|code| Content::Outcome(outcome(i32::from_ne_bytes(*code)))),
            NLMSG_DONE => Some(Content::Done),
            _ => body.get(FAMILY_HEADER..).map(|attributes| Content::Object(Attributes(attributes))),
        };
        let sequence = u32::from_ne_bytes([s0, s1, s2, s3]);
        found.extend(content.map(|content| Answer { sequence, content }));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn outcome(code: i32) -> Result<(), Errno> {
    if code == 0 { Ok(()) } else { Err(Errno::from_raw(code.saturating_abs())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_and_objects_are_told_apart() {
        let ok = [20, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let object = [&[28, 0, 0, 0, 0, 10, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0][..], &[8, 0, 3, 0, 0, 0, 0, 9]];
        let bytes = [&ok[..], &object.concat()].concat();
        let [outcome, object] = &answers(&bytes)[..] else { panic!() };
        assert_eq!((outcome.sequence, &outcome.content), (7, &Content::Outcome(Ok(()))));
        let Content::Object(attributes) = object.content else { panic!() };
        assert_eq!((attributes.number(3), attributes.number(4), attributes.long(3)), (Some(9), None, None));
        let refused = [20, 0, 0, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff];
        assert_eq!(answers(&refused)[0].content, Content::Outcome(Err(Errno::ENOENT)));
    }

    #[test]
    fn damaged_datagrams_end_the_reading() {
        assert!(answers(&[]).is_empty());
        assert!(answers(&[0; 64]).is_empty());
        assert!(answers(&[0xff; 64]).is_empty());
        assert_eq!(Attributes(&[0; 16]).get(1), None);
        assert_eq!(Attributes(&[0xff; 16]).get(1), None);
    }
}
