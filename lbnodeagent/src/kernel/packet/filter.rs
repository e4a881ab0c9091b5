//! The filters of packet sockets, one short program of classic BPF each: the kernel drops all other frames.
//!
//! Offsets count from the Ethernet header. A load beyond the end of a frame drops it.

use nix::libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, ETH_P_ARP, ETH_P_IPV6, SKF_AD_OFF,
    SKF_AD_PKTTYPE, SKF_AD_VLAN_TAG_PRESENT,
};
use socket2::SockFilter;

/// Frames to this host, to all hosts, and to a group have numbers up to this; frames to other hosts and our own
/// have higher ones.
const PACKET_MULTICAST: u32 = 2;
/// The whole frame.
const WHOLE: u32 = 0x4_0000;

/// A condition on a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    /// The value at the offset equals this.
    Is(u32, i32, u32),
    /// The value at the offset is at most this.
    AtMost(u32, i32, u32),
    /// The byte at the offset is one of both.
    Either(i32, u32, u32),
}

/// Frames that belong to no VLAN, are not addressed to other hosts, and were not sent by us.
///
/// A socket of one protocol receives frames after the kernel has sorted out VLANs. Frames with the tag of a VLAN
/// device belong to that device. Those of an unknown VLAN have lost their tag and are marked as addressed to other
/// hosts, and the kernel's own ARP ignores them too. The test for a tag is for kernels that leave it.
const OURS: [Test; 2] = [
    Test::Is(BPF_W, SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT, 0),
    Test::AtMost(BPF_W, SKF_AD_OFF + SKF_AD_PKTTYPE, PACKET_MULTICAST),
];

/// ARP of IPv4 over Ethernet.
pub(super) fn arp() -> Vec<SockFilter> {
    let tests =
        [Test::Is(BPF_H, 12, unsigned(ETH_P_ARP)), Test::Is(BPF_W, 14, 0x0001_0800), Test::Is(BPF_H, 18, 0x0604)];
    program(&[&OURS[..], &tests].concat())
}

/// Neighbour solicitations and advertisements that no router has forwarded.
pub(super) fn neighbours() -> Vec<SockFilter> {
    let tests = [
        Test::Is(BPF_H, 12, unsigned(ETH_P_IPV6)),
        Test::Is(BPF_B, 20, 58),
        Test::Is(BPF_B, 21, 255),
        Test::Either(54, 135, 136),
    ];
    program(&[&OURS[..], &tests].concat())
}

fn program(tests: &[Test]) -> Vec<SockFilter> {
    let load = |size, at| statement(BPF_LD | size | BPF_ABS, unsigned(at));
    // Every test ends with its own return, so that no jump distances need to be computed.
    let drop = || statement(BPF_RET | BPF_K, 0);
    let mut program = Vec::new();
    for test in tests {
        match *test {
            Test::Is(size, at, value) => program.extend([load(size, at), jump(BPF_JEQ, value, 1, 0), drop()]),
            Test::AtMost(size, at, value) => program.extend([load(size, at), jump(BPF_JGT, value, 0, 1), drop()]),
            Test::Either(at, one, other) => {
                program.extend([load(BPF_B, at), jump(BPF_JEQ, one, 2, 0), jump(BPF_JEQ, other, 1, 0), drop()]);
            }
        }
    }
    program.push(statement(BPF_RET | BPF_K, WHOLE));
    program
}

fn statement(code: u32, value: u32) -> SockFilter {
    SockFilter::new(u16::try_from(code).unwrap_or_default(), 0, 0, value)
}

fn jump(condition: u32, value: u32, met: u8, unmet: u8) -> SockFilter {
    SockFilter::new(u16::try_from(BPF_JMP | condition | BPF_K).unwrap_or_default(), met, unmet, value)
}

/// The bits of a number. The offsets of the kernel's own data are negative.
const fn unsigned(value: i32) -> u32 {
    value.cast_unsigned()
}
