//! Interfaces that a node gets besides its own.

use crate::{
    base::error::Result,
    hosts::cables,
    nodes::node::Node,
    topology::{host_id::HostId, mac::Mac},
};

/// An interface that goes when this does.
#[derive(Debug)]
#[must_use = "the interface goes when this is dropped"]
pub struct SpareLink {
    node: Node,
    name: String,
}

impl Drop for SpareLink {
    fn drop(&mut self) {
        // A node that was switched off has lost it already.
        let _ = self.node.exec(&["ip", "link", "del", &self.name]);
        let _ = self.node.exec(&["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=0"]);
    }
}

impl Node {
    /// The hardware address of [`Self::second_cable`].
    #[must_use]
    pub fn second_mac(&self) -> Mac {
        let Mac([.., number]) = self.mac();
        Mac([2, 0, 0, 0, 0x51, number])
    }

    /// A second cable into the same switch, whose interface has addresses of its own in the same subnets. Both answer
    /// for their own addresses only from now on, as they do not by default, so that a client sees which one has which.
    ///
    /// # Errors
    /// The node is off, or has such an interface.
    pub fn second_cable(&self, name: &str) -> Result<SpareLink> {
        let (switch, namespace) = (self.layout.namespace(HostId::Switch), self.layout.namespace(self.id));
        let (port, mac) = (format!("{}-{name}", self.id), self.second_mac());
        let link = SpareLink { node: self.clone(), name: name.to_owned() };
        let [.., v4] = self.id.ipv4().octets();
        let v6 = self.id.ipv6().segments();
        self.exec(&["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1"])?;
        cables::batch(
            &switch,
            &[
                format!("link add {port} type veth peer name {name} address {mac} netns {namespace}"),
                format!("link set {port} master br0 up"),
            ],
        )?;
        cables::batch(
            &namespace,
            &[
                format!("link set {name} up"),
                // Traffic of the node's own goes on as before.
                format!("address add 192.168.50.{}/24 dev {name} noprefixroute", v4 + 100),
                format!("address add fd00:50::51:{:x}/64 dev {name} nodad noprefixroute", v6[7]),
            ],
        )?;
        Ok(link)
    }

    /// An interface for remote addresses, made here if the kernel does not let an agent make it.
    ///
    /// # Errors
    /// The node is off.
    pub fn spare_dummy(&self, name: &str) -> Result<SpareLink> {
        self.ensure_dummy(name)?;
        Ok(SpareLink { node: self.clone(), name: name.to_owned() })
    }

    /// Makes an interface for remote addresses if the kernel does not let an agent make it.
    ///
    /// # Errors
    /// The node is off, or has such an interface.
    pub fn ensure_dummy(&self, name: &str) -> Result<()> {
        if cables::has_dummy(&self.layout) {
            return Ok(());
        }
        let lines = [format!("link add {name} type ifb"), format!("link set {name} up")];
        cables::batch(&self.layout.namespace(self.id), &lines)
    }
}
