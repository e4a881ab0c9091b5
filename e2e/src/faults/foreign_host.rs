//! A host outside the cluster that uses an address of the load balancer. The router plays this host.

use std::{net::IpAddr, time::Duration};

use api_types::Family;

use crate::{
    base::error::Result,
    cluster::handle::Cluster,
    hosts::host::Host,
    observers::neighbor::{frames::Requester, socket::LinkSocket},
    topology::{host_id::HostId, mac::Mac},
};

/// A host that has an address, and answers for it, until it is dropped.
#[derive(Debug)]
#[must_use = "the host leaves when this is dropped"]
pub struct ForeignHost {
    host: Host,
    address: IpAddr,
    left: bool,
}

impl ForeignHost {
    /// The hardware address in its answers.
    #[must_use]
    pub fn mac(&self) -> Mac {
        self.host.id().mac()
    }

    /// Announces the address, as hosts do when they get one.
    ///
    /// # Errors
    /// The router is off.
    pub fn announce(&self) -> Result<()> {
        let requester = Requester { mac: self.mac(), ipv4: self.host.id().ipv4(), ipv6: self.host.id().ipv6() };
        let socket = self.host.in_network(|| LinkSocket::open("eth0", Duration::from_millis(1)))??;
        socket.send(&requester.announcement(self.address))
    }

    /// Gives the address up.
    ///
    /// # Errors
    /// It was taken away already.
    pub fn leave(mut self) -> Result<()> {
        self.left = true;
        change(&self.host, "del", self.address)
    }
}

impl Drop for ForeignHost {
    fn drop(&mut self) {
        if !self.left
            && let Err(error) = change(&self.host, "del", self.address)
        {
            eprintln!("{error}");
        }
    }
}

impl Cluster {
    /// Lets a foreign host take `address`. It neither probes for the address nor announces it.
    ///
    /// # Errors
    /// The router is off, or has the address.
    pub fn foreign_host(&self, address: IpAddr) -> Result<ForeignHost> {
        let host = self.host(HostId::Router);
        change(&host, "add", address)?;
        Ok(ForeignHost { host, address, left: false })
    }
}

fn change(host: &Host, action: &str, address: IpAddr) -> Result<()> {
    let length = match Family::of(address) {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    let entry = format!("{address}/{length}");
    let mut words = vec!["ip", "address", action, &entry, "dev", "eth0"];
    // Without duplicate address detection, so that it can have the address together with a node.
    words.extend((length == 128 && action == "add").then_some("nodad"));
    host.exec(&words).map(drop)
}
