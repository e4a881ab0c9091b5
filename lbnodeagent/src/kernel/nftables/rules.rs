//! Rules. The kernel evaluates the expressions of a rule for a packet, one after the other, until one does not match.
//! Between them, values are in registers of 4 bytes; register 1 is the first four of them (`NFT_REG32_00` to `_03`).

use std::net::IpAddr;

use api_types::Family;
use nix::libc::{
    NF_DROP, NFPROTO_IPV4, NFPROTO_IPV6, NFT_CMP_EQ, NFT_CMP_NEQ, NFT_CT_DIRECTION, NFT_CT_STATE, NFT_CT_STATUS,
    NFT_LOOKUP_F_INV, NFT_META_L4PROTO, NFT_META_NFPROTO, NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER,
    NFT_REG_1, NFT_REG_VERDICT, NFT_REG32_00, RTN_LOCAL,
};

use super::message::Message;

/// `NFTA_LIST_ELEM`, `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`.
const ELEMENT: u16 = 1;
const NAME: u16 = 1;
const DATA: u16 = 2;
/// `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`, `NFTA_VERDICT_CODE`.
const VALUE: u16 = 1;
const VERDICT: u16 = 2;
const CODE: u16 = 1;
/// `NF_CT_STATE_INVALID_BIT`, `NF_CT_STATE_BIT(IP_CT_NEW)`, `NF_CT_STATE_UNTRACKED_BIT`.
pub(super) const INVALID: u32 = 1;
pub(super) const NEW_OR_UNTRACKED: u32 = 1 << 3 | 1 << 6;
/// `IPS_DST_NAT`: the destination was translated.
const TRANSLATED: u32 = 1 << 5;
/// `NFT_FIB_RESULT_ADDRTYPE`, `NFTA_FIB_F_DADDR`.
const ROUTE_TYPE: u32 = 3;
const OF_DESTINATION: u32 = 1 << 1;
/// `IP_CT_DIR_ORIGINAL`.
const ORIGINAL: u8 = 0;
/// Where the header of TCP, UDP and SCTP has the destination's port, and its length.
const PORT: (u32, u32) = (2, 2);

/// The expressions of a rule.
#[derive(Debug, Clone, Default)]
pub(super) struct Rule(Vec<Expression>);

#[derive(Debug, Clone)]
enum Expression {
    /// A property of the packet into a register.
    Meta(i32, i32),
    /// A property of its connection into the first register; none if it has no connection.
    Connection(i32),
    /// Bytes of a header into a register: header, offset and length, register.
    Payload(i32, (u32, u32), i32),
    /// The type of the route to the destination into the first register.
    Route,
    /// Register 1 masked.
    And(u32),
    /// Compares register 1.
    Compare(i32, Vec<u8>),
    /// Whether what begins in register 1 is in a set, or is not.
    Lookup(&'static str, bool),
    /// Counts the packets that come so far.
    Counter,
    /// Drops the packet.
    Drop,
}

impl Rule {
    /// Packets of a family to an address of this set, with a protocol of that one.
    pub(super) fn to(family: Family, addresses: &'static str, protocols: &'static str) -> Self {
        let protocol = if family == Family::V4 { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
        Self(vec![
            Expression::Meta(NFT_META_NFPROTO, NFT_REG_1),
            Expression::Compare(NFT_CMP_EQ, vec![u8::try_from(protocol).unwrap_or_default()]),
            Expression::Payload(NFT_PAYLOAD_NETWORK_HEADER, destination(family), NFT_REG_1),
            Expression::Lookup(addresses, true),
            Expression::Meta(NFT_META_L4PROTO, NFT_REG_1),
            Expression::Lookup(protocols, true),
        ])
    }

    /// To an address that this node has.
    pub(super) fn with_local_destination(mut self) -> Self {
        let local = u32::from(RTN_LOCAL).to_ne_bytes().to_vec();
        self.0.extend([Expression::Route, Expression::Compare(NFT_CMP_EQ, local)]);
        self
    }

    /// Of connections in one of these states.
    pub(super) fn in_state(mut self, states: u32) -> Self {
        self.0.extend([
            Expression::Connection(NFT_CT_STATE),
            Expression::And(states),
            Expression::Compare(NFT_CMP_NEQ, vec![0; 4]),
        ]);
        self
    }

    /// To a port that the set does not have. An element is address, protocol and port, each from a register on.
    pub(super) fn outside(mut self, family: Family, openings: &'static str) -> Self {
        let words = i32::try_from(destination(family).1 / 4).unwrap_or_default();
        self.0.extend([
            Expression::Payload(NFT_PAYLOAD_NETWORK_HEADER, destination(family), NFT_REG_1),
            Expression::Meta(NFT_META_L4PROTO, NFT_REG32_00 + words),
            Expression::Payload(NFT_PAYLOAD_TRANSPORT_HEADER, PORT, NFT_REG32_00 + words + 1),
            Expression::Lookup(openings, false),
        ]);
        self
    }

    /// From whoever began the connection, with a destination that was not translated.
    pub(super) fn untranslated(mut self) -> Self {
        self.0.extend([
            Expression::Connection(NFT_CT_DIRECTION),
            Expression::Compare(NFT_CMP_EQ, vec![ORIGINAL]),
            Expression::Connection(NFT_CT_STATUS),
            Expression::And(TRANSLATED),
            Expression::Compare(NFT_CMP_EQ, vec![0; 4]),
        ]);
        self
    }

    /// Are counted and dropped.
    pub(super) fn drop(mut self) -> Self {
        self.0.extend([Expression::Counter, Expression::Drop]);
        self
    }

    /// Adds the expressions to a message.
    pub(super) fn write(&self, message: Message) -> Message {
        self.0.iter().fold(message, |message, expression| expression.write(message))
    }
}

/// Where the header of a family has the destination, and its length.
const fn destination(family: Family) -> (u32, u32) {
    match family {
        Family::V4 => (16, 4),
        Family::V6 => (24, 16),
    }
}

/// The bytes of an address in a register.
pub(super) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

impl Expression {
    fn write(&self, message: Message) -> Message {
        let number = |number: i32| u32::try_from(number).unwrap_or_default();
        let first = number(NFT_REG_1);
        let value =
            |message: Message, attribute, bytes: &[u8]| message.nest(attribute, |data| data.bytes(VALUE, bytes));
        let (name, fill): (&str, Box<dyn FnOnce(Message) -> Message + '_>) = match self {
            Self::Meta(key, to) => ("meta", Box::new(|data| data.number(1, number(*to)).number(2, number(*key)))),
            Self::Connection(key) => ("ct", Box::new(|data| data.number(1, first).number(2, number(*key)))),
            Self::Payload(base, (offset, length), to) => (
                "payload",
                Box::new(|data| {
                    data.number(1, number(*to)).number(2, number(*base)).number(3, *offset).number(4, *length)
                }),
            ),
            Self::Route => {
                ("fib", Box::new(|data| data.number(1, first).number(2, ROUTE_TYPE).number(3, OF_DESTINATION)))
            }
            Self::And(mask) => (
                "bitwise",
                Box::new(|data| {
                    let data = data.number(1, first).number(2, first).number(3, 4);
                    value(value(data, 4, &mask.to_ne_bytes()), 5, &[0; 4])
                }),
            ),
            Self::Compare(operation, with) => {
                ("cmp", Box::new(|data| value(data.number(1, first).number(2, number(*operation)), 3, with)))
            }
            Self::Lookup(set, is_in) => (
                "lookup",
                Box::new(|data| {
                    let data = data.text(1, set).number(2, first);
                    if *is_in { data } else { data.number(5, number(NFT_LOOKUP_F_INV)) }
                }),
            ),
            Self::Counter => ("counter", Box::new(|data| data)),
            Self::Drop => (
                "immediate",
                Box::new(|data| {
                    let verdict = |data: Message| data.nest(VERDICT, |verdict| verdict.number(CODE, number(NF_DROP)));
                    data.number(1, number(NFT_REG_VERDICT)).nest(2, verdict)
                }),
            ),
        };
        message.nest(ELEMENT, |element| element.text(NAME, name).nest(DATA, fill))
    }
}
