//! Operations to messages for the kernel.

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{AfSpecInet, AfSpecUnspec, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::model::address::{AddressKey, MARK};
use crate::model::operation::{Entry, Operation, Purpose};

/// A message with its flags, without those that every request has.
type Request = (RouteNetlinkMessage, u16);

/// The requests for a dump, each with its name for errors. Links come first, because a link that disappears takes
/// its addresses with it.
pub(super) fn dumps(with_routes: bool) -> Vec<(&'static str, RouteNetlinkMessage)> {
    let mut v4 = RouteMessage::default();
    v4.header.address_family = AddressFamily::Inet;
    let mut v6 = RouteMessage::default();
    v6.header.address_family = AddressFamily::Inet6;
    let mut dumps = vec![
        ("cannot list interfaces", RouteNetlinkMessage::GetLink(LinkMessage::default())),
        ("cannot list addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default())),
    ];
    if with_routes {
        dumps.push(("cannot list IPv4 routes", RouteNetlinkMessage::GetRoute(v4)));
        dumps.push(("cannot list IPv6 routes", RouteNetlinkMessage::GetRoute(v6)));
    }
    dumps
}

/// The message for an operation.
pub(super) fn operation(operation: &Operation) -> Request {
    match operation {
        // An address of somebody else that still exists stays as it is, because not all of its attributes
        // are known here.
        Operation::Put(entry, Purpose::Restore) if entry.mark != Some(MARK) => {
            (RouteNetlinkMessage::NewAddress(put(entry)), NLM_F_CREATE | NLM_F_EXCL)
        }
        Operation::Put(entry, _) => (RouteNetlinkMessage::NewAddress(put(entry)), NLM_F_CREATE | NLM_F_REPLACE),
        Operation::Delete(key) => (RouteNetlinkMessage::DelAddress(address(key)), 0),
    }
}

/// The message that names an address.
fn address(key: &AddressKey) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if key.ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = key.prefix_len;
    message.header.index = key.index;
    message.attributes.extend([AddressAttribute::Local(key.ip), AddressAttribute::Address(key.ip)]);
    message
}

fn put(entry: &Entry) -> AddressMessage {
    let mut message = address(&entry.key);
    message.header.scope = AddressScope::from(entry.scope);
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, entry.no_prefix_route);
    // Our probe replaces the kernel's duplicate address detection. That would keep the address silent for 1.5 s,
    // and delete it when another node claims it.
    flags.set(AddressFlags::Nodad, entry.key.ip.is_ipv6());
    message.header.flags = AddressHeaderFlags::from_bits_truncate(u8::try_from(flags.bits() & 0xff).unwrap_or(0));
    message.attributes.push(AddressAttribute::Flags(flags));
    if entry.valid.is_some() || entry.preferred.is_some() {
        let mut info = CacheInfo::default();
        info.ifa_valid = entry.valid.unwrap_or(u32::MAX);
        info.ifa_preferred = entry.preferred.unwrap_or(u32::MAX).min(info.ifa_valid);
        message.attributes.push(AddressAttribute::CacheInfo(info));
    }
    message.attributes.extend(entry.broadcast.map(AddressAttribute::Broadcast));
    message.attributes.extend(entry.label.as_deref().map(|label| AddressAttribute::Label(label.to_owned())));
    message.attributes.extend(entry.mark.map(|mark| AddressAttribute::Protocol(AddressProtocol::from(mark))));
    message
}

/// The message that creates a dummy interface.
pub(super) fn create_dummy(name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]));
    (RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// The message that sets an interface up.
pub(super) fn set_up(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    (RouteNetlinkMessage::SetLink(message), 0)
}

/// The message that sets `promote_secondaries` of an interface to 0. In a container the file system with this
/// setting is read-only.
pub(super) fn no_promotion(index: u32) -> Request {
    /// `IFLA_INET_CONF`.
    const CONF: u16 = 1;
    /// `IPV4_DEVCONF_PROMOTE_SECONDARIES`.
    const PROMOTE_SECONDARIES: u16 = 20;

    let setting = DefaultNla::new(PROMOTE_SECONDARIES, 0_u32.to_ne_bytes().to_vec());
    let mut bytes = vec![0; setting.buffer_len()];
    setting.emit(&mut bytes);
    let conf = AfSpecInet::Other(DefaultNla::new(CONF | NLA_F_NESTED, bytes));
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![conf])]));
    (RouteNetlinkMessage::SetLink(message), 0)
}
