//! Which ports are open: those that a peer needs, as soon as no other program has them.

use std::collections::BTreeMap;
use std::time::Duration;

use bfd::report::PortReport;
use bfd::{Hops, Peer, Time};
use socket2::Socket;

use crate::log;
use crate::receive::Port;

/// A port that is taken is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// The ports that peers need.
#[derive(Debug, Default)]
pub struct Ports {
    needed: BTreeMap<Port, Result<Socket, String>>,
    retry: Time,
}

impl Ports {
    /// Opens what these peers need and closes everything else. Returns whether anything changed.
    pub fn serve<'a>(&mut self, now: Time, peers: impl Iterator<Item = &'a Peer>) -> bool {
        let mut wanted = Vec::new();
        for peer in peers {
            let ipv6 = peer.key.address.is_ipv6();
            wanted.extend(Hops::ALL.into_iter().filter(|hops| peer.allows(*hops)).map(|hops| Port { ipv6, hops }));
        }
        let before = self.needed.len();
        self.needed.retain(|port, _| wanted.contains(port));
        let mut changed = before != self.needed.len();
        for port in wanted {
            self.needed.entry(port).or_insert_with(|| {
                changed = true;
                Err(String::new())
            });
        }
        if changed {
            self.open(now);
        }
        changed
    }

    /// When [`Ports::open`] has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        self.needed.values().any(Result::is_err).then_some(self.retry)
    }

    /// Tries the ports that are not open. Returns whether anything changed.
    pub fn open(&mut self, now: Time) -> bool {
        self.retry = now.after(RETRY);
        let mut changed = false;
        for (port, socket) in &mut self.needed {
            let Err(before) = socket else { continue };
            let (number, family) = (port.hops.port(), port.family());
            match port.open() {
                Ok(opened) => {
                    log!(Info, "the port is open", port = number, family = family);
                    *socket = Ok(opened);
                    changed = true;
                }
                Err(error) => {
                    let text = format!(
                        "cannot open UDP port {number} ({family}): {error}; end the other program that speaks BFD on this node, \
                         the port is tried again each second"
                    );
                    if *before != text {
                        log!(
                            Warn,
                            "routers cannot reach this node by BFD",
                            port = number,
                            family = family,
                            error = text.clone()
                        );
                        *before = text;
                        changed = true;
                    }
                }
            }
        }
        changed
    }

    /// The open ones.
    pub fn sockets(&self) -> impl Iterator<Item = (Port, &Socket)> {
        self.needed.iter().filter_map(|(port, socket)| Some((*port, socket.as_ref().ok()?)))
    }

    /// For the report.
    pub fn report(&self) -> Vec<PortReport> {
        let report = |(port, socket): (&Port, &Result<Socket, String>)| PortReport {
            port: port.hops.port(),
            family: port.family().to_owned(),
            error: socket.as_ref().err().cloned(),
        };
        self.needed.iter().map(report).collect()
    }
}
