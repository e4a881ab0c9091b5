//! The client: a machine on the node LAN that also reaches everything through the router.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    ops::Deref,
    time::{Duration, Instant},
};

use crate::{
    base::error::{Doing, Result, unexpected},
    hosts::host::Host,
    observers::{
        connector::{self, Connector},
        neighbor::{
            frames::{MessageKind, Requester},
            monitor::ArpMonitor,
            socket::LinkSocket,
        },
    },
    topology::{host_id::HostId, layout::Layout, mac::Mac},
};

/// How long the client waits for a connection, an answer, or a neighbour.
const PATIENCE: Duration = Duration::from_secs(2);

/// Questions that are asked before the answers are waited for: few enough that none is lost on the way.
const AT_ONCE: usize = 50;

/// How long a monitor listens before it looks whether it should stop.
const TICK: Duration = Duration::from_millis(20);

/// The sender of the client's requests: a host that does not exist. The client's kernel would believe answers to its
/// own address, and so learn of a new owner a thousand times a second, where other clients depend on its announcements.
const REQUESTER: Requester = Requester {
    mac: Mac([2, 0, 0, 0, 0x50, 98]),
    ipv4: Ipv4Addr::new(192, 168, 50, 98),
    ipv6: Ipv6Addr::new(0xfd00, 0x50, 0, 0, 0, 0, 0, 0x98),
};

/// The client of a cluster. It is a [`Host`], and the place of most observers.
#[derive(Clone, Debug)]
pub struct Client {
    host: Host,
}

impl Deref for Client {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Client {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { host: Host::new(layout, HostId::Client) }
    }

    /// What a web server answers to `GET /`, without the header.
    ///
    /// # Errors
    /// No connection or no answer within 2 s, or not the status 200.
    pub fn http_get(&self, address: IpAddr, port: u16) -> Result<String> {
        let server = SocketAddr::new(address, port);
        let answer = self.in_network(|| get(server))?.doing(|| format!("get http://{server}/"))?;
        let (header, body) =
            answer.split_once("\r\n\r\n").ok_or_else(|| unexpected(format!("the answer of {server}"), &answer))?;
        let status = header.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) == Some("200") {
            Ok(body.to_owned())
        } else {
            Err(unexpected(format!("the answer of {server}"), status))
        }
    }

    /// Asks once, by ARP or by neighbour solicitation, who has `address`; `None` without an answer within a second.
    ///
    /// # Errors
    /// The client is off.
    pub fn arp(&self, address: IpAddr) -> Result<Option<Mac>> {
        Ok(self.arp_all(&[address])?.remove(&address))
    }

    /// [`Self::arp`] for many at once: who has which of them.
    ///
    /// # Errors
    /// The client is off.
    pub fn arp_all(&self, addresses: &[IpAddr]) -> Result<BTreeMap<IpAddr, Mac>> {
        let (socket, requester) = self.socket()?;
        let mut answers = BTreeMap::new();
        for some in addresses.chunks(AT_ONCE) {
            some.iter().try_for_each(|address| socket.send(&requester.request(*address)))?;
            let mut open: Vec<IpAddr> = some.to_vec();
            let end = Instant::now() + Duration::from_secs(1);
            while !open.is_empty() && Instant::now() < end {
                let Some((_, frame)) = socket.receive()? else { continue };
                let heard = |address: &IpAddr| {
                    requester.message(&frame, *address).filter(|heard| heard.kind == MessageKind::Answer)
                };
                if let Some((address, heard)) = open.iter().find_map(|address| Some((*address, heard(address)?))) {
                    answers.insert(address, heard.mac);
                    open.retain(|other| *other != address);
                }
            }
        }
        Ok(answers)
    }

    /// Asks for `address` every millisecond from now on.
    ///
    /// # Errors
    /// The client is off.
    pub fn monitor(&self, address: IpAddr) -> Result<ArpMonitor> {
        let (socket, requester) = self.socket()?;
        Ok(ArpMonitor::start(socket, requester, address))
    }

    /// Opens a connection to `server` every 10 ms from now on.
    #[must_use]
    pub fn connect_continuously(&self, server: SocketAddr) -> Connector {
        self.connect_every(connector::PERIOD, server)
    }

    /// Opens a connection to `server` in this rhythm from now on.
    #[must_use]
    pub fn connect_every(&self, period: Duration, server: SocketAddr) -> Connector {
        Connector::start(self.host.clone(), server, period)
    }

    fn socket(&self) -> Result<(LinkSocket, Requester)> {
        Ok((self.in_network(|| LinkSocket::open("eth0", TICK))??, REQUESTER))
    }
}

fn get(server: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {}\r\n\r\n", server.ip()).as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
