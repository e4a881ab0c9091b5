//! The addresses of a node's interface, from its kernel's notifications, so that no request disturbs a measurement.

use e2e::BenchResult as Result;
use std::{
    collections::HashMap,
    net::IpAddr,
    os::fd::{AsRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use e2e::Host;
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressScope},
};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{
            AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
            socket, sockopt,
        },
        time::TimeVal,
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant as Deadline, timeout_at},
};

/// Bits of `RTNLGRP_IPV4_IFADDR` and `RTNLGRP_IPV6_IFADDR`.
const GROUPS: u32 = 1 << 4 | 1 << 8;

/// The size of the socket's buffer in bytes, enough for the notifications of many more addresses than are measured.
const BUFFER: usize = 64 << 20;

/// The largest datagram of the kernel.
const DATAGRAM: usize = 64 << 10;

/// How long a read waits before the thread checks whether it should stop.
const TICK: TimeVal = TimeVal::new(0, 20_000);

/// The addresses of an interface except link-local ones, each with whether it is permanent.
#[derive(Debug, Default)]
pub(crate) struct Held {
    addresses: HashMap<IpAddr, bool>,
    lasting: usize,
}

impl Held {
    /// Their number.
    pub(crate) fn all(&self) -> usize {
        self.addresses.len()
    }

    /// How many of them are permanent.
    pub(crate) fn lasting(&self) -> usize {
        self.lasting
    }

    /// Whether the interface has this address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    fn take(&mut self, address: IpAddr, lasting: Option<bool>) {
        let before = match lasting {
            Some(lasting) => self.addresses.insert(address, lasting),
            None => self.addresses.remove(&address),
        };
        self.lasting -= usize::from(before == Some(true));
        self.lasting += usize::from(lasting == Some(true));
    }
}

/// A change of one address: whether it is permanent now, or `None` if it was removed.
type Change = (Instant, IpAddr, Option<bool>);

/// Receives the notifications of a host's kernel about one of its interfaces, until this is dropped.
#[derive(Debug)]
pub(crate) struct Nic {
    changes: mpsc::UnboundedReceiver<std::result::Result<Change, Errno>>,
    held: Held,
    last: Instant,
}

impl Nic {
    /// Reads the present addresses, and receives changes from now on.
    pub(crate) fn open(host: &Host, interface: &str) -> Result<Self> {
        let (socket, index) = host.in_network(|| Ok::<_, Errno>((listen()?, if_nametoindex(interface)?)))??;
        let (sender, changes) = mpsc::unbounded_channel();
        let mut nic = Self { changes, held: Held::default(), last: Instant::now() };
        let mut buffer = vec![0; DATAGRAM];
        // The present addresses arrive in the form of notifications.
        let mut there = Vec::new();
        while !read(&socket, &mut buffer, index, &mut there)? {}
        for change in there {
            nic.take(change);
        }
        thread::spawn(move || {
            let mut heard = Vec::new();
            while !sender.is_closed() {
                let outcome = read(&socket, &mut buffer, index, &mut heard).map(drop);
                let news = heard.drain(..).map(Ok).chain(outcome.err().map(Err));
                // If the receiver is dropped, this thread ends.
                news.for_each(|change| sender.send(change).unwrap_or_default());
                if outcome.is_err() {
                    return;
                }
            }
        });
        Ok(nic)
    }

    /// The addresses after the changes that were taken so far.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// Waits until a condition holds, and returns the time of the change that fulfilled it, or of the latest known
    /// change if it held before.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        holds: impl Fn(&Held) -> bool,
    ) -> Result<Instant> {
        let end = Deadline::now() + patience;
        while !holds(&self.held) {
            let Ok(change) = timeout_at(end, self.changes.recv()).await else {
                let Held { addresses, lasting } = &self.held;
                let state = format!("{} addresses, {lasting} of them permanent", addresses.len());
                return Err(format!("{what}: not within {patience:?}; there are {state}").into());
            };
            let change = change.ok_or("the thread that listens to the kernel has ended")?;
            self.take(change.map_err(|errno| format!("the kernel's notifications: {errno}"))?);
        }
        Ok(self.last)
    }

    fn take(&mut self, (at, address, lasting): Change) {
        self.held.take(address, lasting);
        self.last = at;
    }
}

/// A socket that receives changes of addresses and has requested the present ones.
fn listen() -> nix::Result<OwnedFd> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    setsockopt(&fd, sockopt::RcvBufForce, &BUFFER)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &TICK)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetAddress(AddressMessage::default()));
    request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    send(fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
    Ok(fd)
}

/// Reads one datagram, if one comes. Returns whether it ends the list of present addresses.
fn read(socket: &OwnedFd, buffer: &mut [u8], index: u32, heard: &mut Vec<Change>) -> nix::Result<bool> {
    let length = match recv(socket.as_raw_fd(), buffer, MsgFlags::empty()) {
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(false),
        length => length?,
    };
    let at = Instant::now();
    let mut rest = buffer.get(..length).unwrap_or_default();
    while !rest.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(|_| Errno::EBADMSG)?;
        let next = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
        rest = rest.get(next..).unwrap_or_default();
        let change = match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(_) | NetlinkPayload::Overrun(_) => return Err(Errno::EPROTO),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => address(&message, index, true),
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => address(&message, index, false),
            _ => None,
        };
        heard.extend(change.map(|(ip, lasting)| (at, ip, lasting)));
    }
    Ok(false)
}

fn address(message: &AddressMessage, index: u32, there: bool) -> Option<(IpAddr, Option<bool>)> {
    if message.header.index != index || message.header.scope != AddressScope::Universe {
        return None;
    }
    let (mut local, mut peer, mut lasting) = (None, None, true);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => peer = Some(*ip),
            AddressAttribute::CacheInfo(info) => lasting = info.ifa_valid == u32::MAX,
            _ => {}
        }
    }
    Some((local.or(peer)?, there.then_some(lasting)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted() {
        let mut held = Held::default();
        let [one, other] = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        held.take(one, Some(true));
        held.take(other, Some(false));
        held.take(other, Some(false));
        assert_eq!((held.all(), held.lasting(), held.has(one)), (2, 1, true));
        held.take(other, Some(true));
        held.take(one, None);
        held.take(one, None);
        assert_eq!((held.all(), held.lasting(), held.has(one)), (1, 1, false));
    }
}
