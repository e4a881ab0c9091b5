//! A socket for whole Ethernet frames.

use std::{
    io::IoSliceMut,
    os::fd::{AsRawFd, OwnedFd},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    cmsg_space,
    errno::Errno,
    ifaddrs::getifaddrs,
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg, send,
            setsockopt, socket,
            sockopt::{RcvBufForce, ReceiveTimeout, ReceiveTimestampns},
        },
        time::{TimeSpec, TimeVal},
    },
};

use crate::base::error::{Doing, Result, unexpected};

/// More than an Ethernet frame without jumbo size.
const LONGEST: usize = 2048;

/// Bytes of frames that may wait. A reader that has to wait for a processor must not lose some: they would look like
/// requests without an answer.
const BUFFER: usize = 16 << 20;

/// Sends and receives frames on one interface of the network namespace it was opened in.
#[derive(Debug)]
pub(crate) struct LinkSocket {
    descriptor: OwnedFd,
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
        let descriptor =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).doing(what)?;
        bind(descriptor.as_raw_fd(), &address).doing(what)?;
        let patience = TimeVal::new(patience.as_secs().try_into().unwrap_or(i64::MAX), patience.subsec_micros().into());
        setsockopt(&descriptor, ReceiveTimeout, &patience).doing(what)?;
        setsockopt(&descriptor, RcvBufForce, &BUFFER).doing(what)?;
        // The kernel notes when a frame came: a reader that had to wait for a processor must not make it look late.
        setsockopt(&descriptor, ReceiveTimestampns, &true).doing(what)?;
        Ok(Self { descriptor })
    }

    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        match send(self.descriptor.as_raw_fd(), frame, MsgFlags::empty()) {
            // What a full queue or a cable that is just being pulled does to a frame on any network.
            Ok(_) | Err(Errno::ENOBUFS | Errno::ENETDOWN) => Ok(()),
            Err(error) => Err(error).doing(|| "send a frame".into()),
        }
    }

    /// The next frame with the time at which it came, or `None` when there is none in time.
    pub(crate) fn receive(&self) -> Result<Option<(Instant, Vec<u8>)>> {
        let mut frame = vec![0; LONGEST];
        let mut control = cmsg_space!(TimeSpec);
        let mut parts = [IoSliceMut::new(&mut frame)];
        let (length, came) =
            match recvmsg::<()>(self.descriptor.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()) {
                Ok(message) => {
                    let mut notes = message.cmsgs().doing(|| "read a frame's time".into())?;
                    let came = notes.find_map(|note| match note {
                        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                        _ => None,
                    });
                    (message.bytes, came)
                }
                Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => return Ok(None),
                Err(error) => return Err(error).doing(|| "receive a frame".into()),
            };
        frame.truncate(length);
        Ok(Some((came.map_or_else(Instant::now, as_instant), frame)))
    }
}

/// A time since 1970 on the scale of [`Instant`], which the kernel does not put on frames.
fn as_instant(since_epoch: Duration) -> Instant {
    let now = Instant::now();
    let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since_epoch).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}
