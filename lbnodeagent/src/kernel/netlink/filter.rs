//! The filter of notifications: of routes the kernel delivers default routes, and those that may make an interface part
//! of a network. A node that speaks BGP may have very many others, each address on the dummy interface brings one or two,
//! and each pod one.
//!
//! A route to a network is delivered if it is a unicast route of the main table without a gateway, and neither a host
//! route nor wider than the widest network that counts. Two kinds of these are left out, because each new interface
//! brings one: IPv4 routes that the kernel made for an address, and IPv6 routes to link-local addresses.

use nix::libc::{
    AF_INET, AF_INET6, BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K,
    BPF_LD, BPF_LDX, BPF_MISC, BPF_RET, BPF_TAX, BPF_W, RT_TABLE_MAIN, RTA_DST, RTA_GATEWAY, RTA_MULTIPATH,
    RTM_DELROUTE, RTM_NEWROUTE, RTN_UNICAST, RTPROT_KERNEL,
};
use socket2::SockFilter;

use crate::model::network::WIDEST;

/// `nlmsg_type`, two bytes in the byte order of this machine.
const TYPE: u32 = 4;
const NLMSG_HEADER: u32 = 16;
/// The fields of a `struct rtmsg`, a byte each.
const FAMILY: u32 = NLMSG_HEADER;
const PREFIX_LENGTH: u32 = NLMSG_HEADER + 1;
const TABLE: u32 = NLMSG_HEADER + 4;
const PROTOCOL: u32 = NLMSG_HEADER + 5;
const KIND: u32 = NLMSG_HEADER + 7;
/// Where the attributes of a route begin.
const ATTRIBUTES: u32 = NLMSG_HEADER + 12;
/// `RTA_VIA`.
const VIA: u16 = 18;
/// The header of an attribute.
const ATTRIBUTE_HEADER: u32 = 4;
/// `SKF_AD_OFF + SKF_AD_NLATTR`: reading there searches from the offset in A for the attribute whose number is in X, and
/// gives its offset, or 0.
const FIND_ATTRIBUTE: u32 = 0xffff_f00c;
/// The first ten bits of IPv6 link-local addresses (RFC 4291, section 2.5.6).
const LINK_LOCAL: (u32, u32) = (0xffc0, 0xfe80);
/// The whole message.
const WHOLE: u32 = u32::MAX;

/// Where a jump leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    Deliver,
    Drop,
    Route,
    Ipv6,
    Gateway,
}

enum Step {
    /// A place that jumps lead to.
    Label(To),
    Do(u32, u32),
    /// The comparison, the value, and where to go if it holds and if not.
    If(u32, u32, To, To),
}

/// The filter program. It sees one notification at a time.
pub(super) fn program() -> Vec<SockFilter> {
    assemble(&steps())
}

fn steps() -> Vec<Step> {
    use Step::{Do, If, Label};
    use To::{Deliver, Drop, Gateway, Ipv6, Next, Route};
    let byte = |offset| Do(BPF_LD | BPF_B | BPF_ABS, offset);
    let equal = |value, yes, no| If(BPF_JEQ, value, yes, no);
    let at_least = |value, yes, no| If(BPF_JGE, value, yes, no);
    let number = |value: i32| u32::try_from(value).unwrap_or_default();
    // The load instruction reads two bytes as a big-endian number.
    let of_type = |value: u16| u32::from(value.to_be());
    let find = |attribute: u16| {
        [
            Do(BPF_LD | BPF_W | BPF_IMM, ATTRIBUTES),
            Do(BPF_LDX | BPF_W | BPF_IMM, u32::from(attribute)),
            Do(BPF_LD | BPF_W | BPF_ABS, FIND_ATTRIBUTE),
        ]
    };
    let [widest_v4, widest_v6] = WIDEST.map(u32::from);
    let mut steps = vec![
        Do(BPF_LD | BPF_H | BPF_ABS, TYPE),
        equal(of_type(RTM_NEWROUTE), Route, Next),
        equal(of_type(RTM_DELROUTE), Route, Deliver),
        Label(Route),
        byte(PREFIX_LENGTH),
        equal(0, Deliver, Next),
        byte(TABLE),
        equal(u32::from(RT_TABLE_MAIN), Next, Drop),
        byte(KIND),
        equal(u32::from(RTN_UNICAST), Next, Drop),
        byte(FAMILY),
        equal(number(AF_INET6), Ipv6, Next),
        equal(number(AF_INET), Next, Drop),
        byte(PROTOCOL),
        equal(u32::from(RTPROT_KERNEL), Drop, Next),
        byte(PREFIX_LENGTH),
        at_least(32, Drop, Next),
        at_least(widest_v4, Gateway, Drop),
        Label(Ipv6),
        byte(PREFIX_LENGTH),
        at_least(128, Drop, Next),
        at_least(widest_v6, Next, Drop),
    ];
    steps.extend(find(RTA_DST));
    steps.extend([
        equal(0, Drop, Next),
        Do(BPF_MISC | BPF_TAX, 0),
        Do(BPF_LD | BPF_H | BPF_IND, ATTRIBUTE_HEADER),
        Do(BPF_ALU | BPF_AND | BPF_K, LINK_LOCAL.0),
        equal(LINK_LOCAL.1, Drop, Next),
        Label(Gateway),
    ]);
    for attribute in [RTA_GATEWAY, VIA, RTA_MULTIPATH] {
        steps.extend(find(attribute));
        steps.push(equal(0, Next, Drop));
    }
    steps.extend([Label(Deliver), Do(BPF_RET | BPF_K, WHOLE), Label(Drop), Do(BPF_RET | BPF_K, 0)]);
    steps
}

/// Turns labels into distances.
fn assemble(steps: &[Step]) -> Vec<SockFilter> {
    let is_code = |step: &&Step| !matches!(step, Step::Label(_));
    let place = |label: To| {
        let before = steps.iter().take_while(|step| !matches!(step, Step::Label(found) if *found == label));
        before.filter(is_code).count()
    };
    let code = |code: u32| u16::try_from(code).unwrap_or_default();
    let instruction = |(at, step): (usize, &Step)| match *step {
        Step::If(comparison, value, yes, no) => {
            let distance = |to: To| match to {
                To::Next => 0,
                to => u8::try_from(place(to).saturating_sub(at + 1)).unwrap_or(u8::MAX),
            };
            SockFilter::new(code(BPF_JMP | comparison | BPF_K), distance(yes), distance(no), value)
        }
        Step::Do(operation, value) => SockFilter::new(code(operation), 0, 0, value),
        Step::Label(_) => SockFilter::new(0, 0, 0, 0),
    };
    steps.iter().filter(is_code).enumerate().map(instruction).collect()
}
