//! The filter of notifications: the kernel drops those of routes other than default routes. A node that speaks BGP
//! may have very many of them, and each address on the dummy interface brings one or two.

use nix::libc::{BPF_ABS, BPF_B, BPF_H, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, RTM_DELROUTE, RTM_NEWROUTE};
use socket2::SockFilter;

/// `nlmsg_type`, two bytes in the byte order of this machine.
const TYPE: u32 = 4;
/// `rtm_dst_len`, the second byte of a `struct rtmsg`.
const PREFIX_LENGTH: u32 = NLMSG_HEADER + 1;
const NLMSG_HEADER: u32 = 16;
/// The whole message.
const WHOLE: u32 = u32::MAX;

/// The filter program. It sees one notification at a time.
pub(super) fn program() -> [SockFilter; 7] {
    // The load instruction reads two bytes as a big-endian number.
    let of_type = |number: u16| u32::from(number.to_be());
    [
        statement(BPF_LD | BPF_H | BPF_ABS, TYPE),
        jump(of_type(RTM_NEWROUTE), 1, 0),
        jump(of_type(RTM_DELROUTE), 0, 2),
        statement(BPF_LD | BPF_B | BPF_ABS, PREFIX_LENGTH),
        jump(0, 0, 1),
        statement(BPF_RET | BPF_K, WHOLE),
        statement(BPF_RET | BPF_K, 0),
    ]
}

fn statement(code: u32, value: u32) -> SockFilter {
    SockFilter::new(u16::try_from(code).unwrap_or_default(), 0, 0, value)
}

fn jump(value: u32, met: u8, unmet: u8) -> SockFilter {
    SockFilter::new(u16::try_from(BPF_JMP | BPF_JEQ | BPF_K).unwrap_or_default(), met, unmet, value)
}
