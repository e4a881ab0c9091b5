//! Requests to the kernel: dumps, operations on addresses, and the dummy interface.

use std::collections::HashMap;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;
use runtime::BootTime;

use super::error::KernelError;
use super::socket::Socket;
use super::{decode, encode};
use crate::model::observed::{Change, Observed};
use crate::model::operation::{Operation, Purpose};

/// Sends requests to the kernel and waits for the answers.
#[derive(Debug)]
pub struct Kernel {
    socket: Socket,
    sequence: u32,
}

/// The largest number of operations in one batch. Their acknowledgements fit into the socket's buffer.
pub const BATCH: usize = 256;

/// How often an interrupted dump is repeated.
const DUMPS: usize = 5;

impl Kernel {
    /// Opens the socket.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> Result<Self, KernelError> {
        Ok(Self { socket: Socket::requests()?, sequence: 0 })
    }

    /// Reads links, addresses, default routes and on-link routes.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or its tables change during every dump.
    pub fn dump(&mut self) -> Result<Observed, KernelError> {
        self.read(true, |_| true)
    }

    /// Reads links, and the addresses on those for which `counts` is true. Routes are left out, because a node
    /// that speaks BGP may have very many.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or its tables change during every dump.
    pub fn dump_addresses(&mut self, counts: impl Fn(u32) -> bool) -> Result<Observed, KernelError> {
        self.read(false, counts)
    }

    fn read(&mut self, with_routes: bool, counts: impl Fn(u32) -> bool) -> Result<Observed, KernelError> {
        let wanted = |change: &Change| !matches!(change, Change::Address(key, _) if !counts(key.index));
        let mut observed = Observed::default();
        for (what, request) in encode::dumps(with_routes) {
            for change in self.consistent_dump(what, &request, wanted)? {
                observed.apply(change);
            }
        }
        Ok(observed)
    }

    fn consistent_dump(
        &mut self,
        what: &'static str,
        request: &RouteNetlinkMessage,
        wanted: impl Fn(&Change) -> bool,
    ) -> Result<Vec<Change>, KernelError> {
        for _ in 0..DUMPS {
            match self.dump_once(what, request.clone(), &wanted) {
                Err(KernelError::Interrupted) => {}
                result => return result,
            }
        }
        Err(KernelError::Interrupted)
    }

    fn dump_once(
        &mut self,
        what: &'static str,
        request: RouteNetlinkMessage,
        wanted: impl Fn(&Change) -> bool,
    ) -> Result<Vec<Change>, KernelError> {
        let sequence = self.send(vec![(request, NLM_F_REQUEST | NLM_F_DUMP)])?;
        let mut found = Vec::new();
        let mut interrupted = false;
        loop {
            let now = BootTime::now();
            // Decoded at once, because a message is many times as large as the change that is kept of
            // it.
            for message in self.socket.receive()? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                interrupted |= message.header.flags & netlink_packet_core::NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => {
                        decode::changes(inner, now, |change| found.extend(Some(change).filter(&wanted)));
                    }
                    NetlinkPayload::Error(error) => {
                        return Err(KernelError::Refused { what, errno: errno(error.raw_code()) });
                    }
                    NetlinkPayload::Done(_) => {
                        return if interrupted { Err(KernelError::Interrupted) } else { Ok(found) };
                    }
                    _ => {}
                }
            }
        }
    }

    /// Carries operations out in order, up to [`BATCH`] of them in one call; returns a result for each. When
    /// the socket fails after the first call, the operations without an answer have the result `EIO`.
    ///
    /// Deleting an address that does not exist succeeds, and so does putting one that exists.
    ///
    /// # Errors
    ///
    /// When the socket fails in the first call. Then the outcome of all operations is unknown.
    pub fn apply(&mut self, operations: &[Operation]) -> Result<Vec<Result<(), Errno>>, KernelError> {
        let mut results = Vec::with_capacity(operations.len());
        for batch in operations.chunks(BATCH) {
            let requests = batch.iter().map(encode::operation).collect();
            let answers = match self.transact(requests) {
                Ok(answers) => answers,
                Err(error) if results.is_empty() => return Err(error),
                Err(error) => {
                    tracing::error!(op = "netlink", %error, "not all addresses could be written");
                    // The old socket may still receive late answers.
                    self.socket = Socket::requests()?;
                    results.resize(operations.len(), Err(Errno::EIO));
                    break;
                }
            };
            results.extend(answers.into_iter().zip(batch).map(|(errno, operation)| match (errno, operation) {
                (Errno::UnknownErrno, _)
                | (Errno::EADDRNOTAVAIL | Errno::ENODEV, Operation::Delete(_))
                | (Errno::EEXIST, Operation::Put(_, Purpose::Restore)) => Ok(()),
                (errno, _) => Err(errno),
            }));
        }
        Ok(results)
    }

    /// Makes sure that the interface exists, is up, and does not promote secondary addresses; returns its
    /// index. An existing interface may be of any type.
    ///
    /// # Errors
    ///
    /// When the kernel cannot create it.
    pub fn ensure_dummy(&mut self, name: &str, observed: &Observed) -> Result<u32, KernelError> {
        let index = if let Some(index) = observed.index_of(name) {
            index
        } else {
            match self.one("cannot create the dummy interface", encode::create_dummy(name)) {
                // Somebody else has just created it, which is fine.
                Ok(()) | Err(KernelError::Refused { errno: Errno::EEXIST, .. }) => {}
                Err(error) => return Err(error),
            }
            self.index_of(name)?
        };
        self.one("cannot set the dummy interface up", encode::set_up(index))?;
        // Best effort, because plans also work with promotion.
        if let Err(error) = self.one("cannot set promote_secondaries", encode::no_promotion(index)) {
            tracing::debug!(op = "dummyInterface", %error, "promote_secondaries stays as it is");
        }
        Ok(index)
    }

    fn index_of(&mut self, name: &str) -> Result<u32, KernelError> {
        let dumped = self.dump_addresses(|_| false)?;
        dumped.index_of(name).ok_or(KernelError::Refused { what: "no such interface", errno: Errno::ENODEV })
    }

    fn one(&mut self, what: &'static str, request: (RouteNetlinkMessage, u16)) -> Result<(), KernelError> {
        match self.transact(vec![request])?.first() {
            Some(Errno::UnknownErrno) | None => Ok(()),
            Some(errno) => Err(KernelError::Refused { what, errno: *errno }),
        }
    }

    /// Sends a request that has one answer, and waits for that.
    pub(super) fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<NetlinkPayload<RouteNetlinkMessage>, KernelError> {
        let sequence = self.send(vec![(request, flags)])?;
        loop {
            let mut messages = self.socket.receive()?.into_iter();
            if let Some(answer) = messages.find(|message| message.header.sequence_number == sequence) {
                return Ok(answer.payload);
            }
        }
    }

    /// Sends requests and waits for the acknowledgement of each. 0 (`UnknownErrno`) means success.
    fn transact(&mut self, requests: Vec<(RouteNetlinkMessage, u16)>) -> Result<Vec<Errno>, KernelError> {
        let count = requests.len();
        let requests = requests.into_iter().map(|(message, flags)| (message, flags | NLM_F_REQUEST | NLM_F_ACK));
        let last = self.send(requests.collect())?;
        let mut answers: HashMap<u32, Errno> = HashMap::with_capacity(count);
        let first = last.wrapping_sub(u32::try_from(count.saturating_sub(1)).unwrap_or(0));
        let mine = |sequence: u32| sequence.wrapping_sub(first) <= last.wrapping_sub(first);
        while answers.len() < count {
            for message in self.socket.receive()? {
                let sequence = message.header.sequence_number;
                if let NetlinkPayload::Error(error) = message.payload
                    && mine(sequence)
                {
                    answers.insert(sequence, errno(error.raw_code()));
                }
            }
        }
        let sequences = (0..count).map(|nth| first.wrapping_add(u32::try_from(nth).unwrap_or(0)));
        Ok(sequences.map(|sequence| answers.get(&sequence).copied().unwrap_or(Errno::UnknownErrno)).collect())
    }

    /// Sends messages in one datagram; returns the sequence number of the last one.
    fn send(&mut self, messages: Vec<(RouteNetlinkMessage, u16)>) -> Result<u32, KernelError> {
        let mut bytes = Vec::new();
        for (message, flags) in messages {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::from(message);
            message.header.flags = flags;
            message.header.sequence_number = self.sequence;
            message.finalize();
            let start = bytes.len();
            // Every message begins at a multiple of four bytes.
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            if let Some(place) = bytes.get_mut(start..) {
                message.serialize(place);
            }
        }
        self.socket.send(&bytes)?;
        Ok(self.sequence)
    }
}

fn errno(raw: i32) -> Errno {
    Errno::from_raw(raw.saturating_abs())
}
