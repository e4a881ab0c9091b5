//! Frames to bytes and back.
//!
//! ```text
//! body   = length of status | status | frame ...
//! status = incarnation | flags (1) | version | digest (8)
//! frame  = type | length of value | value
//! ```
//!
//! Numbers are LEB128. Members of different releases read each other: a frame of an unknown type is skipped, and so is
//! one with an unknown choice in it (a liveness, an answer). Bytes that follow the known fields of a status or of a
//! value are fields of a later release, and are skipped too.

use crate::wire::bytes::{Reader, Writer};
use crate::wire::error::WireError;
use crate::wire::frame::{ClaimAnswer, Frame, Liveness, MAX_BODY, MAX_CLAIMS, Move, Status};

/// The types of frames. A number is never used again for something else.
mod kind {
    pub const CHALLENGE: u64 = 1;
    pub const RESPONSE: u64 = 2;
    pub const PING: u64 = 3;
    pub const ACK: u64 = 4;
    pub const PING_REQUEST: u64 = 5;
    pub const INDIRECT_ACK: u64 = 6;
    pub const RUMOUR: u64 = 7;
    pub const PULL: u64 = 8;
    pub const PAGE: u64 = 9;
    pub const CHANGES: u64 = 10;
    pub const CLAIM_QUERY: u64 = 11;
    pub const CLAIM_REPLY: u64 = 12;
    pub const FORMER_CLAIMS: u64 = 13;
    pub const ALARM: u64 = 14;
    pub const UNREACHABLE: u64 = 15;
    pub const OFFER: u64 = 16;
    pub const ACCEPT: u64 = 17;
    pub const DECLINE: u64 = 18;
    pub const GO: u64 = 19;
}

/// Writes a status and frames.
#[must_use]
pub fn encode(status: &Status, frames: &[Frame]) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(128));
    out.enclosed(|out| {
        out.number(status.incarnation.into());
        out.byte(status.flags);
        out.number(status.version);
        out.0.extend_from_slice(&status.digest.to_be_bytes());
    });
    for frame in frames {
        out.number(kind_of(frame));
        out.enclosed(|out| out.value(frame));
    }
    out.0
}

/// Reads a status and frames.
///
/// # Errors
/// If the body ends in the middle, or a known part is impossible; nothing of the body must be used then.
pub fn decode(bytes: &[u8]) -> Result<(Status, Vec<Frame>), WireError> {
    let mut input = Reader(bytes);
    let mut own = input.enclosed()?;
    let status = Status {
        incarnation: own.small()?,
        flags: own.byte()?,
        version: own.number()?,
        digest: u64::from_be_bytes(own.array()?),
    };
    let mut frames = Vec::new();
    while !input.0.is_empty() {
        let kind = input.number()?;
        frames.extend(input.enclosed()?.value(kind)?);
    }
    Ok((status, frames))
}

const fn kind_of(frame: &Frame) -> u64 {
    match frame {
        Frame::Challenge(_) => kind::CHALLENGE,
        Frame::Response(_) => kind::RESPONSE,
        Frame::Ping(_) => kind::PING,
        Frame::Ack(_) => kind::ACK,
        Frame::PingRequest { .. } => kind::PING_REQUEST,
        Frame::IndirectAck { .. } => kind::INDIRECT_ACK,
        Frame::Rumour { .. } => kind::RUMOUR,
        Frame::Pull { .. } => kind::PULL,
        Frame::Page { .. } => kind::PAGE,
        Frame::Changes { .. } => kind::CHANGES,
        Frame::ClaimQuery(_) => kind::CLAIM_QUERY,
        Frame::ClaimReply { .. } => kind::CLAIM_REPLY,
        Frame::FormerClaims(_) => kind::FORMER_CLAIMS,
        Frame::Alarm { .. } => kind::ALARM,
        Frame::Unreachable(_) => kind::UNREACHABLE,
        Frame::Offer(_) => kind::OFFER,
        Frame::Accept(_) => kind::ACCEPT,
        Frame::Decline(_) => kind::DECLINE,
        Frame::Go(_) => kind::GO,
    }
}

impl Writer {
    fn planned_move(&mut self, step: &Move) {
        self.ip(step.address);
        self.number(step.epoch);
        self.number(step.id);
    }

    fn value(&mut self, frame: &Frame) {
        match frame {
            Frame::Challenge(nonce) | Frame::Response(nonce) => self.number(*nonce),
            Frame::Ping(id) | Frame::Ack(id) => self.number((*id).into()),
            Frame::PingRequest { id, target, reach } => {
                self.number((*id).into());
                self.name(target);
                self.some_ip(*reach);
            }
            Frame::IndirectAck { id, target, link } => {
                self.number((*id).into());
                self.name(target);
                self.byte(u8::from(*link));
            }
            Frame::Rumour { node, incarnation, liveness, flags, version } => {
                self.name(node);
                self.number((*incarnation).into());
                self.byte(match liveness {
                    Liveness::Alive => 0,
                    Liveness::Suspect => 1,
                    Liveness::Silent => 2,
                });
                self.byte(*flags);
                self.number(*version);
            }
            Frame::Pull { since, after } => {
                self.number(*since);
                self.some_ip(*after);
            }
            Frame::Page { version, after, claims, last } => {
                self.number(*version);
                self.some_ip(*after);
                self.claims(claims);
                self.byte(u8::from(*last));
            }
            Frame::Changes { from, to, changes } => {
                self.number(*from);
                self.number(*to);
                self.length(changes.len().min(MAX_CLAIMS));
                for (address, epoch) in changes.iter().take(MAX_CLAIMS) {
                    self.ip(*address);
                    self.some_epoch(*epoch);
                }
            }
            Frame::ClaimQuery(address) => self.ip(*address),
            Frame::ClaimReply { address, answer } => {
                self.ip(*address);
                match answer {
                    ClaimAnswer::Nothing => self.byte(0),
                    ClaimAnswer::Claimed(epoch) => {
                        self.byte(1);
                        self.number(*epoch);
                    }
                    ClaimAnswer::HeldRemote => self.byte(2),
                    ClaimAnswer::HeldForeign => self.byte(3),
                }
            }
            Frame::FormerClaims(claims) => self.claims(claims),
            Frame::Alarm { owner, subnet } => {
                self.name(owner);
                self.network(*subnet);
            }
            Frame::Unreachable(subnet) => self.network(*subnet),
            Frame::Offer(step) | Frame::Accept(step) | Frame::Decline(step) | Frame::Go(step) => {
                self.planned_move(step);
            }
        }
    }
}

impl Reader<'_> {
    fn planned_move(&mut self) -> Result<Move, WireError> {
        Ok(Move { address: self.ip()?, epoch: self.number()?, id: self.number()? })
    }

    fn rumour(&mut self) -> Result<Option<Frame>, WireError> {
        let (node, incarnation) = (self.name()?, self.small()?);
        let liveness = match self.byte()? {
            0 => Liveness::Alive,
            1 => Liveness::Suspect,
            2 => Liveness::Silent,
            _ => return Ok(None),
        };
        Ok(Some(Frame::Rumour { node, incarnation, liveness, flags: self.byte()?, version: self.number()? }))
    }

    fn claim_reply(&mut self) -> Result<Option<Frame>, WireError> {
        let address = self.ip()?;
        let answer = match self.byte()? {
            0 => ClaimAnswer::Nothing,
            1 => ClaimAnswer::Claimed(self.number()?),
            2 => ClaimAnswer::HeldRemote,
            3 => ClaimAnswer::HeldForeign,
            _ => return Ok(None),
        };
        Ok(Some(Frame::ClaimReply { address, answer }))
    }

    /// A value of this type; nothing if the type, or a choice in the value, is unknown.
    fn value(&mut self, kind: u64) -> Result<Option<Frame>, WireError> {
        Ok(Some(match kind {
            kind::CHALLENGE => Frame::Challenge(self.number()?),
            kind::RESPONSE => Frame::Response(self.number()?),
            kind::PING => Frame::Ping(self.small()?),
            kind::ACK => Frame::Ack(self.small()?),
            kind::PING_REQUEST => {
                Frame::PingRequest { id: self.small()?, target: self.name()?, reach: self.some_ip()? }
            }
            kind::INDIRECT_ACK => Frame::IndirectAck { id: self.small()?, target: self.name()?, link: self.flag()? },
            kind::RUMOUR => return self.rumour(),
            kind::PULL => Frame::Pull { since: self.number()?, after: self.some_ip()? },
            kind::PAGE => Frame::Page {
                version: self.number()?,
                after: self.some_ip()?,
                claims: self.claims()?,
                last: self.flag()?,
            },
            kind::CHANGES => Frame::Changes {
                from: self.number()?,
                to: self.number()?,
                changes: self.list(|input| Ok((input.ip()?, input.some_epoch()?)))?,
            },
            kind::CLAIM_QUERY => Frame::ClaimQuery(self.ip()?),
            kind::CLAIM_REPLY => return self.claim_reply(),
            kind::FORMER_CLAIMS => Frame::FormerClaims(self.claims()?),
            kind::ALARM => Frame::Alarm { owner: self.name()?, subnet: self.network()? },
            kind::UNREACHABLE => Frame::Unreachable(self.network()?),
            kind::OFFER => Frame::Offer(self.planned_move()?),
            kind::ACCEPT => Frame::Accept(self.planned_move()?),
            kind::DECLINE => Frame::Decline(self.planned_move()?),
            kind::GO => Frame::Go(self.planned_move()?),
            _ => return Ok(None),
        }))
    }
}

/// Packs frames into as many bodies as they need, each with the status, none larger than [`MAX_BODY`] unless a single
/// frame is.
pub fn pack(status: &Status, frames: &[Frame]) -> impl Iterator<Item = Vec<u8>> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let mut count = rest.len();
        while count > 0 {
            let body = encode(status, rest.get(..count).unwrap_or_default());
            if body.len() <= MAX_BODY || count == 1 {
                rest = rest.get(count..).unwrap_or_default();
                return Some(body);
            }
            count = count.div_ceil(2);
        }
        None
    })
}
