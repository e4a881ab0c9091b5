//! Addresses that are somebody else's: no agent starts to announce one, whatever a pool says.

use std::net::IpAddr;

use api_types::reserved::SERVICE_PROXY_INTERFACES;

use crate::decide::context::Context;
use crate::model::address::{AddressKey, KernelAddress};

/// Whose the address is and what to do, as a sentence; nothing if nobody is known to have it.
pub(super) fn holder(context: &Context<'_>, address: IpAddr) -> Option<String> {
    let reserved = context.members.reserved();
    let whose = if let Some(interface) = taken_on(context, address) {
        return Some(format!(
            "interface {interface} already has {address}, and not from us: remove it there, or from the ServiceGroup's pool"
        ));
    } else if context.node_addresses.contains(&address) {
        "this node's own address".to_owned()
    } else if context.gateways.contains(&address) {
        "a gateway of this node".to_owned()
    } else if let Some(node) = reserved.owner(address) {
        format!("node {node}'s own address")
    } else if let Some(node) = reserved.gateway_of(address) {
        format!("a gateway of node {node}")
    } else {
        return None;
    };
    Some(format!("{address} is {whose}: remove it from the ServiceGroup's pool"))
}

/// The interface on which this node's kernel has the address from somebody else: an administrator, DHCP, another
/// address manager.
///
/// On the dummy interface it is adopted, because that is where it belongs. What a service proxy keeps on an interface of
/// its own is on every node. The prefix length does not matter: the kernel knows an IPv6 address once per interface, so
/// adding ours would change theirs.
pub(super) fn taken_on<'a>(context: &Context<'a>, address: IpAddr) -> Option<&'a str> {
    let observed = context.observed;
    let foreign = |(key, found): (&AddressKey, &KernelAddress)| {
        let name = observed.name_of(key.index);
        let exempt = Some(key.index) == context.dummy || SERVICE_PROXY_INTERFACES.contains(&name);
        (!exempt && !context.ours.includes(key, found)).then_some(name)
    };
    observed.of(address).find_map(foreign)
}
