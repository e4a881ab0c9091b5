//! The addresses and the AS number that calico-node uses on a node.

use std::net::IpAddr;

use crate::as_number;
use crate::labels::Labels;

/// The annotations in which calico-node says which addresses its BGP sessions use, with a prefix length.
const ANNOTATIONS: [&str; 2] = ["projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address"];

/// The annotation that gives a node an AS number of its own.
const AS_NUMBER: &str = "projectcalico.org/ASNumber";

/// The AS number of the node, if it has one of its own by the annotations of its Node object.
#[must_use]
pub fn as_number(annotations: &Labels) -> Option<u32> {
    as_number::of_text(annotations.get(AS_NUMBER)?)
}

/// The address of the family of `like` from which the node speaks BGP, by the annotations of its Node object.
///
/// # Examples
/// ```
/// let annotations = [("projectcalico.org/IPv4Address".to_owned(), "192.0.2.11/24".to_owned())].into();
/// let router = "192.0.2.1".parse().unwrap();
/// assert_eq!(calico::node::address(&annotations, router), Some("192.0.2.11".parse().unwrap()));
/// ```
#[must_use]
pub fn address(annotations: &Labels, like: IpAddr) -> Option<IpAddr> {
    let all = ANNOTATIONS.iter().filter_map(|name| annotations.get(*name));
    let mut addresses = all.filter_map(|text| text.split('/').next()?.parse::<IpAddr>().ok());
    addresses.find(|address| address.is_ipv4() == like.is_ipv4())
}
