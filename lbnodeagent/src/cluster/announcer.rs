//! Who announces an address, as the annotations of its Services say.

use std::net::IpAddr;

use ownership::NodeId;

use crate::cluster::service::ServiceView;

/// The node that announces the address as the annotations of these Services say (specification, announcing.md 9: entries
/// `node,interface,ip`, separated by blanks).
#[must_use]
pub fn announcer(users: &[&ServiceView], address: IpAddr) -> Option<NodeId> {
    users.iter().find_map(|user| user.announcer(address).and_then(NodeId::new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::service::testing::annotated;

    #[test]
    fn the_entry_of_the_address_names_its_node() {
        let named = |text: &str, address: &str| {
            let service = annotated("purelb.io/announcing-IPv4", text);
            announcer(&[&service], address.parse().unwrap()).map(|node| node.to_string())
        };
        let text = "node1,eth0,192.0.2.1 node2,a,b,192.0.2.2 nonsense ,eth0,192.0.2.3";
        assert_eq!(named(text, "192.0.2.1").as_deref(), Some("node1"));
        assert_eq!(named(text, "192.0.2.2").as_deref(), Some("node2"));
        assert_eq!(named(text, "192.0.2.3"), None);
        assert_eq!(named(text, "2001:db8::1"), None);
    }
}
