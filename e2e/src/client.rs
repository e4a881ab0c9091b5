//! The client: a machine on the node LAN that also reaches everything through the router.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    ops::Deref,
    time::{Duration, Instant},
};

use crate::{
    error::{Doing, Result, unexpected},
    host::Host,
    host_id::HostId,
    layout::Layout,
    mac::Mac,
    neighbor::{ArpMonitor, Asker, Kind, LinkSocket},
};

/// How long the client waits for a connection, an answer, or a neighbour.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a monitor listens before it looks whether it should stop.
const TICK: Duration = Duration::from_millis(20);

/// The client of a cluster; everything a [`Host`] can do, and more.
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

    /// Asks once, by ARP or by neighbour solicitation, who has `address`; `None` when nobody answers within a second.
    ///
    /// # Errors
    /// The client is off.
    pub fn arp(&self, address: IpAddr) -> Result<Option<Mac>> {
        let (socket, asker) = self.socket()?;
        socket.send(&asker.question(address))?;
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            let heard = socket.receive()?.and_then(|frame| asker.hear(&frame, address));
            if let Some(heard) = heard.filter(|heard| heard.kind == Kind::Answer) {
                return Ok(Some(heard.mac));
            }
        }
        Ok(None)
    }

    /// Asks for `address` every millisecond from now on.
    ///
    /// # Errors
    /// The client is off.
    pub fn monitor(&self, address: IpAddr) -> Result<ArpMonitor> {
        let (socket, asker) = self.socket()?;
        Ok(ArpMonitor::start(socket, asker, address))
    }

    fn socket(&self) -> Result<(LinkSocket, Asker)> {
        let socket = self.in_network(|| LinkSocket::open("eth0", TICK))??;
        let asker = Asker { mac: socket.mac(), ipv4: self.id().ipv4(), ipv6: self.id().ipv6() };
        Ok((socket, asker))
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
