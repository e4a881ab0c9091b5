//! A socket for whole Ethernet frames.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
            sockopt::ReceiveTimeout,
        },
        time::TimeVal,
    },
};

use crate::{
    error::{Doing, Result, unexpected},
    mac::Mac,
};

/// More than an Ethernet frame without jumbo size.
const LONGEST: usize = 2048;

/// Sends and receives frames on one interface of the network namespace it was opened in.
#[derive(Debug)]
pub(crate) struct LinkSocket {
    descriptor: OwnedFd,
    mac: Mac,
}

impl LinkSocket {
    /// Opens a socket on `interface` of the calling thread's network namespace. [`Self::receive`] waits at most
    /// `patience`.
    pub(crate) fn open(interface: &str, patience: Duration) -> Result<Self> {
        let what = || format!("open a socket on {interface}");
        // The system call wants an address with the interface's number, and this listing has such addresses.
        let address = getifaddrs()
            .doing(what)?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .ok_or_else(|| unexpected("the list of interfaces", format!("no {interface}")))?;
        let mac = address.addr().map(Mac).ok_or_else(|| unexpected(interface, "no hardware address"))?;
        let descriptor =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).doing(what)?;
        bind(descriptor.as_raw_fd(), &address).doing(what)?;
        let patience = TimeVal::new(patience.as_secs().try_into().unwrap_or(i64::MAX), patience.subsec_micros().into());
        setsockopt(&descriptor, ReceiveTimeout, &patience).doing(what)?;
        Ok(Self { descriptor, mac })
    }

    /// The interface's hardware address.
    pub(crate) fn mac(&self) -> Mac {
        self.mac
    }

    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        match send(self.descriptor.as_raw_fd(), frame, MsgFlags::empty()) {
            // What a full queue or a cable that is just being pulled does to a frame on any network.
            Ok(_) | Err(Errno::ENOBUFS | Errno::ENETDOWN) => Ok(()),
            Err(error) => Err(error).doing(|| "send a frame".into()),
        }
    }

    /// The next frame, or `None` when there is none in time.
    pub(crate) fn receive(&self) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0; LONGEST];
        match recv(self.descriptor.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(length) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => Ok(None),
            Err(error) => Err(error).doing(|| "receive a frame".into()),
        }
    }
}
