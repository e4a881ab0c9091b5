//! Elements of sets: addresses, and ports of addresses.

use std::net::IpAddr;

use api_types::Family;
use nix::libc::{NFPROTO_INET, NFT_MSG_DELSETELEM, NFT_MSG_NEWSETELEM, NLM_F_CREATE};

use super::message::Message;
use super::rules::octets;
use crate::model::port::Opening;

/// `NFTA_SET_ELEM_LIST_TABLE`, `_SET`, `_ELEMENTS`; `NFTA_LIST_ELEM`; `NFTA_SET_ELEM_KEY`, `NFTA_DATA_VALUE`.
const TABLE: u16 = 1;
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
const ELEMENT: u16 = 1;
const KEY: u16 = 1;
const VALUE: u16 = 1;
/// Elements of one message. An attribute has at most 65,535 bytes, and an element takes up to 40 of them.
const AT_ONCE: usize = 1000;

/// The key of an address.
pub(super) fn address(ip: IpAddr) -> (Family, Vec<u8>) {
    (Family::of(ip), octets(ip))
}

/// The key of a port of an address: address, protocol and port, each padded to a multiple of 4 bytes.
pub(super) fn opening(opening: Opening) -> (Family, Vec<u8>) {
    let mut key = octets(opening.ip);
    key.extend([opening.port.protocol.number(), 0, 0, 0]);
    key.extend(opening.port.number.to_be_bytes());
    key.extend([0; 2]);
    (Family::of(opening.ip), key)
}

/// Messages that add elements to a set of a table. One that is there already stays as it is.
pub(super) fn add(table: &str, set: &str, keys: &[Vec<u8>]) -> Vec<Message> {
    change(NFT_MSG_NEWSETELEM, NLM_F_CREATE, table, set, keys)
}

/// Messages that take elements off a set. The kernel refuses the batch if one is not there.
pub(super) fn remove(table: &str, set: &str, keys: &[Vec<u8>]) -> Vec<Message> {
    change(NFT_MSG_DELSETELEM, 0, table, set, keys)
}

/// The message that empties a set.
pub(super) fn flush(table: &str, set: &str) -> Message {
    Message::new(NFT_MSG_DELSETELEM, 0, NFPROTO_INET).text(TABLE, table).text(SET, set)
}

fn change(kind: i32, flags: i32, table: &str, set: &str, keys: &[Vec<u8>]) -> Vec<Message> {
    let flags = u16::try_from(flags).unwrap_or_default();
    let message = |keys| named(Message::new(kind, flags, NFPROTO_INET), table, set, keys);
    keys.chunks(AT_ONCE).map(message).collect()
}

/// Adds to a message which elements it is about.
pub(super) fn named(message: Message, table: &str, set: &str, keys: &[Vec<u8>]) -> Message {
    let element =
        |list: Message, key: &Vec<u8>| list.nest(ELEMENT, |element| element.nest(KEY, |data| data.bytes(VALUE, key)));
    message.text(TABLE, table).text(SET, set).nest(ELEMENTS, |list| keys.iter().fold(list, element))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::port::{Port, Protocol};

    #[test]
    fn a_port_of_an_address_is_laid_out_as_the_registers_are() {
        let port = Port { protocol: Protocol::Udp, number: 0x1234 };
        let key = |ip: &str| opening(Opening { ip: ip.parse().unwrap(), port });
        assert_eq!(key("192.0.2.1"), (Family::V4, vec![192, 0, 2, 1, 17, 0, 0, 0, 0x12, 0x34, 0, 0]));
        let (family, v6) = key("fd00::1");
        assert_eq!((family, v6.len(), &v6[15..]), (Family::V6, 24, &[1, 17, 0, 0, 0, 0x12, 0x34, 0, 0][..]));
    }
}
