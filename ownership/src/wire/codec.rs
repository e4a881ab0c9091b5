//! Bytes to messages and back: numbers as LEB128, names and lists with their length first.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{Epoch, MAX_CLAIMS, Message, Move, Status, Vital, WireError};
use crate::node::NodeId;

/// Writes a status and messages.
#[must_use]
pub fn encode(status: &Status, messages: &[Message]) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(128));
    out.number(status.incarnation.into());
    out.byte(status.flags);
    out.number(status.version);
    out.0.extend_from_slice(&status.digest.to_be_bytes());
    for message in messages {
        out.message(message);
    }
    out.0
}

/// Reads a status and messages.
///
/// # Errors
/// If any part is not understood; nothing of the body must be used then.
pub fn decode(bytes: &[u8]) -> Result<(Status, Vec<Message>), WireError> {
    let mut input = Reader(bytes);
    let incarnation = input.small()?;
    let flags = input.byte()?;
    let version = input.number()?;
    let digest = u64::from_be_bytes(input.array()?);
    let mut messages = Vec::new();
    while !input.0.is_empty() {
        messages.push(input.message()?);
    }
    Ok((Status { incarnation, flags, version, digest }, messages))
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, mut number: u64) {
        loop {
            let low = number.to_le_bytes().first().copied().unwrap_or(0) & 0x7f;
            number >>= 7;
            self.byte(if number == 0 { low } else { low | 0x80 });
            if number == 0 {
                return;
            }
        }
    }

    fn length(&mut self, length: usize) {
        self.byte(u8::try_from(length).unwrap_or(u8::MAX));
    }

    fn name(&mut self, node: &NodeId) {
        self.length(node.as_str().len());
        self.0.extend_from_slice(node.as_str().as_bytes());
    }

    fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => {
                self.byte(4);
                self.0.extend_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                self.byte(6);
                self.0.extend_from_slice(&v6.octets());
            }
        }
    }

    fn some_ip(&mut self, address: Option<IpAddr>) {
        match address {
            Some(address) => self.ip(address),
            None => self.byte(0),
        }
    }

    fn network(&mut self, network: IpNetwork) {
        self.ip(network.network());
        self.byte(network.prefix());
    }

    fn some_epoch(&mut self, epoch: Option<Epoch>) {
        self.number(epoch.map_or(0, |epoch| epoch.saturating_add(1)));
    }

    fn claims(&mut self, claims: &[(IpAddr, Epoch)]) {
        self.length(claims.len().min(MAX_CLAIMS));
        for (address, epoch) in claims.iter().take(MAX_CLAIMS) {
            self.ip(*address);
            self.number(*epoch);
        }
    }

    fn step(&mut self, tag: u8, step: &Move) {
        self.byte(tag);
        self.ip(step.address);
        self.number(step.epoch);
        self.number(step.id);
    }

    fn message(&mut self, message: &Message) {
        match message {
            Message::Challenge(nonce) => {
                self.byte(1);
                self.number(*nonce);
            }
            Message::Response(nonce) => {
                self.byte(2);
                self.number(*nonce);
            }
            Message::Ping(id) => {
                self.byte(3);
                self.number((*id).into());
            }
            Message::Ack(id) => {
                self.byte(4);
                self.number((*id).into());
            }
            Message::Ask { id, target, reach } => {
                self.byte(5);
                self.number((*id).into());
                self.name(target);
                self.some_ip(*reach);
            }
            Message::Heard { id, target, link } => {
                self.byte(6);
                self.number((*id).into());
                self.name(target);
                self.byte(u8::from(*link));
            }
            Message::Rumour { node, incarnation, vital, flags, version } => {
                self.byte(7);
                self.name(node);
                self.number((*incarnation).into());
                self.byte(match vital {
                    Vital::Alive => 0,
                    Vital::Suspect => 1,
                    Vital::Silent => 2,
                });
                self.byte(*flags);
                self.number(*version);
            }
            Message::Pull { since, after } => {
                self.byte(8);
                self.number(*since);
                self.some_ip(*after);
            }
            Message::Page { version, after, claims, last } => {
                self.byte(9);
                self.number(*version);
                self.some_ip(*after);
                self.claims(claims);
                self.byte(u8::from(*last));
            }
            Message::Changes { from, to, changes } => {
                self.byte(10);
                self.number(*from);
                self.number(*to);
                self.length(changes.len().min(MAX_CLAIMS));
                for (address, epoch) in changes.iter().take(MAX_CLAIMS) {
                    self.ip(*address);
                    self.some_epoch(*epoch);
                }
            }
            Message::Query(address) => {
                self.byte(11);
                self.ip(*address);
            }
            Message::Holds { address, epoch } => {
                self.byte(12);
                self.ip(*address);
                self.some_epoch(*epoch);
            }
            Message::Recall(claims) => {
                self.byte(13);
                self.claims(claims);
            }
            Message::Alarm { owner, subnet } => {
                self.byte(14);
                self.name(owner);
                self.network(*subnet);
            }
            Message::Unreachable(subnet) => {
                self.byte(15);
                self.network(*subnet);
            }
            Message::Offer(step) => self.step(16, step),
            Message::Accept(step) => self.step(17, step),
            Message::Decline(step) => self.step(18, step),
            Message::Go(step) => self.step(19, step),
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, WireError> {
        let (first, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, WireError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError::Malformed)
    }

    fn small(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.number()?).map_err(|_| WireError::Malformed)
    }

    fn flag(&mut self) -> Result<bool, WireError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Malformed),
        }
    }

    fn name(&mut self) -> Result<NodeId, WireError> {
        let length = usize::from(self.byte()?);
        let (name, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        std::str::from_utf8(name).ok().and_then(NodeId::new).ok_or(WireError::Malformed)
    }

    fn some_ip(&mut self) -> Result<Option<IpAddr>, WireError> {
        match self.byte()? {
            0 => Ok(None),
            4 => Ok(Some(IpAddr::from(self.array::<4>()?))),
            6 => Ok(Some(IpAddr::from(self.array::<16>()?))),
            _ => Err(WireError::Malformed),
        }
    }

    fn ip(&mut self) -> Result<IpAddr, WireError> {
        self.some_ip()?.ok_or(WireError::Malformed)
    }

    fn network(&mut self) -> Result<IpNetwork, WireError> {
        let (address, prefix) = (self.ip()?, self.byte()?);
        let network = IpNetwork::new(address, prefix).map_err(|_| WireError::Malformed)?;
        (network.network() == address).then_some(network).ok_or(WireError::Malformed)
    }

    fn some_epoch(&mut self) -> Result<Option<Epoch>, WireError> {
        Ok(self.number()?.checked_sub(1))
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, WireError>) -> Result<Vec<T>, WireError> {
        let length = usize::from(self.byte()?);
        if length > MAX_CLAIMS {
            return Err(WireError::Malformed);
        }
        (0..length).map(|_| item(self)).collect()
    }

    fn claims(&mut self) -> Result<Vec<(IpAddr, Epoch)>, WireError> {
        self.list(|input| Ok((input.ip()?, input.number()?)))
    }

    fn step(&mut self) -> Result<Move, WireError> {
        Ok(Move { address: self.ip()?, epoch: self.number()?, id: self.number()? })
    }

    fn message(&mut self) -> Result<Message, WireError> {
        Ok(match self.byte()? {
            1 => Message::Challenge(self.number()?),
            2 => Message::Response(self.number()?),
            3 => Message::Ping(self.small()?),
            4 => Message::Ack(self.small()?),
            5 => Message::Ask { id: self.small()?, target: self.name()?, reach: self.some_ip()? },
            6 => Message::Heard { id: self.small()?, target: self.name()?, link: self.flag()? },
            7 => Message::Rumour {
                node: self.name()?,
                incarnation: self.small()?,
                vital: match self.byte()? {
                    0 => Vital::Alive,
                    1 => Vital::Suspect,
                    2 => Vital::Silent,
                    _ => return Err(WireError::Malformed),
                },
                flags: self.byte()?,
                version: self.number()?,
            },
            8 => Message::Pull { since: self.number()?, after: self.some_ip()? },
            9 => Message::Page {
                version: self.number()?,
                after: self.some_ip()?,
                claims: self.claims()?,
                last: self.flag()?,
            },
            10 => Message::Changes {
                from: self.number()?,
                to: self.number()?,
                changes: self.list(|input| Ok((input.ip()?, input.some_epoch()?)))?,
            },
            11 => Message::Query(self.ip()?),
            12 => Message::Holds { address: self.ip()?, epoch: self.some_epoch()? },
            13 => Message::Recall(self.claims()?),
            14 => Message::Alarm { owner: self.name()?, subnet: self.network()? },
            15 => Message::Unreachable(self.network()?),
            16 => Message::Offer(self.step()?),
            17 => Message::Accept(self.step()?),
            18 => Message::Decline(self.step()?),
            19 => Message::Go(self.step()?),
            _ => return Err(WireError::Malformed),
        })
    }
}
