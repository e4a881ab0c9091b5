//! Faults of the network, made by nftables rules on the ports of the switch. Every frame passes these rules, ARP and
//! neighbour discovery included, and no host notices anything but missing frames. A fault ends when its value is
//! dropped.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    base::error::Result,
    cluster::handle::Cluster,
    hosts::{cables, host::Host},
    nodes::node::Node,
    topology::{host_id::HostId, layout::Layout},
};

/// The agents' UDP port for talking to each other.
pub const GOSSIP_PORT: u16 = 7475;

/// What the names of the tables begin with.
const PREFIX: &str = "fault-";

/// Makes the names of one process's tables different.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The direction of a frame through a port of the switch.
#[derive(Clone, Copy, Debug)]
enum Direction {
    /// From the switch to the host.
    ToHost,
    /// From the host into the switch.
    FromHost,
}

/// A fault of the network, which lasts as long as this value lives.
#[derive(Debug)]
#[must_use = "the fault ends when this is dropped"]
pub struct Fault {
    layout: Layout,
    table: String,
    /// `ip` commands in a host that put back what the fault needed besides its rules.
    undo: Vec<(HostId, Vec<String>)>,
}

impl Fault {
    /// Installs `rules` on ports of the switch.
    fn new(layout: &Layout, ports: &[(HostId, Direction)], rules: &str) -> Result<Self> {
        let table = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut text = format!("table netdev {table} {{\n");
        for (host, direction) in ports {
            let hook = match direction {
                Direction::ToHost => "egress",
                Direction::FromHost => "ingress",
            };
            // Into a String nothing fails.
            let _ = writeln!(
                text,
                "chain {host}-{hook} {{ type filter hook {hook} device \"{host}\" priority 0; policy accept; {rules}\n}}"
            );
        }
        text.push('}');
        Host::new(layout, HostId::Switch).exec_with_input(&["nft", "-f", "-"], text)?;
        Ok(Self { layout: layout.clone(), table, undo: Vec::new() })
    }

    /// Ends the fault.
    ///
    /// # Errors
    /// It has been ended from elsewhere.
    pub fn end(mut self) -> Result<()> {
        self.lift()
    }

    fn lift(&mut self) -> Result<()> {
        if self.table.is_empty() {
            return Ok(());
        }
        let table = std::mem::take(&mut self.table);
        let lifted = delete(&self.layout, &table);
        for (host, lines) in std::mem::take(&mut self.undo) {
            cables::batch(&self.layout.namespace(host), &lines)?;
        }
        lifted
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Err(error) = self.lift() {
            eprintln!("{error}");
        }
    }
}

fn delete(layout: &Layout, table: &str) -> Result<()> {
    Host::new(layout, HostId::Switch).exec(&["nft", "delete", "table", "netdev", table]).map(drop)
}

impl Node {
    /// Drops every frame to the node; what it sends arrives.
    ///
    /// # Errors
    /// The node is off.
    pub fn drop_inbound(&self) -> Result<Fault> {
        Fault::new(&self.layout, &[(self.id, Direction::ToHost)], "drop")
    }

    /// Drops everything between the node and the API server, in both directions and for every process of the node.
    ///
    /// # Errors
    /// The node is off.
    pub fn drop_api(&self) -> Result<Fault> {
        let rules = "tcp dport 6443 drop; tcp sport 6443 drop";
        Fault::new(&self.layout, &[(self.id, Direction::ToHost), (self.id, Direction::FromHost)], rules)
    }

    /// Drops the agents' datagrams from and to the node; everything else arrives.
    ///
    /// # Errors
    /// The node is off.
    pub fn drop_gossip(&self) -> Result<Fault> {
        let rules = format!("udp dport {GOSSIP_PORT} drop; udp sport {GOSSIP_PORT} drop");
        Fault::new(&self.layout, &[(self.id, Direction::ToHost), (self.id, Direction::FromHost)], &rules)
    }
}

impl Cluster {
    /// The reverse of [`Node::drop_gossip`]: from and to the node there are the agents' datagrams and the API server,
    /// and nothing else. As if these had a network of their own, on which hosts find each other; so the nodes get
    /// permanent entries for each other's hardware addresses until it is over.
    ///
    /// # Errors
    /// A node is off.
    pub fn drop_all_but_gossip(&self, node: &Node) -> Result<Fault> {
        let rules = format!(
            "udp dport {GOSSIP_PORT} accept; udp sport {GOSSIP_PORT} accept; tcp dport 6443 accept; tcp sport 6443 accept; drop"
        );
        let undo = self.know_each_other()?;
        let mut fault =
            Fault::new(self.layout(), &[(node.id(), Direction::ToHost), (node.id(), Direction::FromHost)], &rules)?;
        fault.undo = undo;
        Ok(fault)
    }

    /// The switch loses each frame with this probability, in per cent, on its direction out of a port: a question with
    /// its answer is lost with almost twice that.
    ///
    /// # Errors
    /// The cluster is not running.
    pub fn drop_frames(&self, percent: u8) -> Result<Fault> {
        let hosts = self.hosts().map(|host| host.id()).filter(|host| *host != HostId::Switch);
        let ports: Vec<_> = hosts.map(|host| (host, Direction::ToHost)).collect();
        Fault::new(self.layout(), &ports, &format!("numgen random mod 100 < {percent} drop"))
    }

    /// [`Node::isolate`] for several nodes at the same moment.
    ///
    /// # Errors
    /// A node is off.
    pub fn isolate(&self, nodes: &[&Node]) -> Result<()> {
        let lines: Vec<_> = nodes.iter().map(|node| format!("link set {} nomaster", node.id())).collect();
        cables::batch(&self.layout().namespace(HostId::Switch), &lines)
    }

    /// Ends all faults, also those of processes that were killed.
    pub(crate) fn end_faults(&self) -> Result<()> {
        let tables = self.host(HostId::Switch).exec(&["nft", "list", "tables", "netdev"])?;
        let ours = tables.split_whitespace().filter(|word| word.starts_with(PREFIX));
        ours.into_iter().try_for_each(|table| delete(self.layout(), table))
    }

    /// Gives nodes and control plane permanent entries for each other, and returns what makes them ordinary ones.
    fn know_each_other(&self) -> Result<Vec<(HostId, Vec<String>)>> {
        let hosts: Vec<HostId> = self.nodes().map(|node| node.id()).chain([HostId::Control]).collect();
        let mut undo = Vec::new();
        for host in &hosts {
            let lines = |state: &str| -> Vec<String> {
                let others = hosts.iter().filter(|other| *other != host);
                others
                    .flat_map(|other| {
                        let entry = |address: &dyn std::fmt::Display| {
                            format!("neigh replace {address} lladdr {} dev eth0 nud {state}", other.mac())
                        };
                        [entry(&other.ipv4()), entry(&other.ipv6())]
                    })
                    .collect()
            };
            cables::batch(&self.layout().namespace(*host), &lines("permanent"))?;
            undo.push((*host, lines("stale")));
        }
        Ok(undo)
    }
}
