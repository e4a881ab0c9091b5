//! Frames to bytes and back: each is a tag and its fields.

use crate::wire::bytes::{Reader, Writer};
use crate::wire::error::WireError;
use crate::wire::frame::{Frame, Liveness, MAX_BODY, MAX_CLAIMS, Move, Status};

/// Writes a status and frames.
#[must_use]
pub fn encode(status: &Status, frames: &[Frame]) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(128));
    out.number(status.incarnation.into());
    out.byte(status.flags);
    out.number(status.version);
    out.0.extend_from_slice(&status.digest.to_be_bytes());
    for frame in frames {
        out.frame(frame);
    }
    out.0
}

/// Reads a status and frames.
///
/// # Errors
/// If any part is not understood; nothing of the body must be used then.
pub fn decode(bytes: &[u8]) -> Result<(Status, Vec<Frame>), WireError> {
    let mut input = Reader(bytes);
    let incarnation = input.small()?;
    let flags = input.byte()?;
    let version = input.number()?;
    let digest = u64::from_be_bytes(input.array()?);
    let mut frames = Vec::new();
    while !input.0.is_empty() {
        frames.push(input.frame()?);
    }
    Ok((Status { incarnation, flags, version, digest }, frames))
}

impl Writer {
    fn planned_move(&mut self, tag: u8, step: &Move) {
        self.byte(tag);
        self.ip(step.address);
        self.number(step.epoch);
        self.number(step.id);
    }

    fn frame(&mut self, frame: &Frame) {
        match frame {
            Frame::Challenge(nonce) => {
                self.byte(1);
                self.number(*nonce);
            }
            Frame::Response(nonce) => {
                self.byte(2);
                self.number(*nonce);
            }
            Frame::Ping(id) => {
                self.byte(3);
                self.number((*id).into());
            }
            Frame::Ack(id) => {
                self.byte(4);
                self.number((*id).into());
            }
            Frame::PingRequest { id, target, reach } => {
                self.byte(5);
                self.number((*id).into());
                self.name(target);
                self.some_ip(*reach);
            }
            Frame::IndirectAck { id, target, link } => {
                self.byte(6);
                self.number((*id).into());
                self.name(target);
                self.byte(u8::from(*link));
            }
            Frame::Rumour { node, incarnation, liveness, flags, version } => {
                self.byte(7);
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
                self.byte(8);
                self.number(*since);
                self.some_ip(*after);
            }
            Frame::Page { version, after, claims, last } => {
                self.byte(9);
                self.number(*version);
                self.some_ip(*after);
                self.claims(claims);
                self.byte(u8::from(*last));
            }
            Frame::Changes { from, to, changes } => {
                self.byte(10);
                self.number(*from);
                self.number(*to);
                self.length(changes.len().min(MAX_CLAIMS));
                for (address, epoch) in changes.iter().take(MAX_CLAIMS) {
                    self.ip(*address);
                    self.some_epoch(*epoch);
                }
            }
            Frame::ClaimQuery(address) => {
                self.byte(11);
                self.ip(*address);
            }
            Frame::ClaimReply { address, epoch } => {
                self.byte(12);
                self.ip(*address);
                self.some_epoch(*epoch);
            }
            Frame::FormerClaims(claims) => {
                self.byte(13);
                self.claims(claims);
            }
            Frame::Alarm { owner, subnet } => {
                self.byte(14);
                self.name(owner);
                self.network(*subnet);
            }
            Frame::Unreachable(subnet) => {
                self.byte(15);
                self.network(*subnet);
            }
            Frame::Offer(step) => self.planned_move(16, step),
            Frame::Accept(step) => self.planned_move(17, step),
            Frame::Decline(step) => self.planned_move(18, step),
            Frame::Go(step) => self.planned_move(19, step),
        }
    }
}

impl Reader<'_> {
    fn planned_move(&mut self) -> Result<Move, WireError> {
        Ok(Move { address: self.ip()?, epoch: self.number()?, id: self.number()? })
    }

    fn frame(&mut self) -> Result<Frame, WireError> {
        Ok(match self.byte()? {
            1 => Frame::Challenge(self.number()?),
            2 => Frame::Response(self.number()?),
            3 => Frame::Ping(self.small()?),
            4 => Frame::Ack(self.small()?),
            5 => Frame::PingRequest { id: self.small()?, target: self.name()?, reach: self.some_ip()? },
            6 => Frame::IndirectAck { id: self.small()?, target: self.name()?, link: self.flag()? },
            7 => Frame::Rumour {
                node: self.name()?,
                incarnation: self.small()?,
                liveness: match self.byte()? {
                    0 => Liveness::Alive,
                    1 => Liveness::Suspect,
                    2 => Liveness::Silent,
                    _ => return Err(WireError::Malformed),
                },
                flags: self.byte()?,
                version: self.number()?,
            },
            8 => Frame::Pull { since: self.number()?, after: self.some_ip()? },
            9 => Frame::Page {
                version: self.number()?,
                after: self.some_ip()?,
                claims: self.claims()?,
                last: self.flag()?,
            },
            10 => Frame::Changes {
                from: self.number()?,
                to: self.number()?,
                changes: self.list(|input| Ok((input.ip()?, input.some_epoch()?)))?,
            },
            11 => Frame::ClaimQuery(self.ip()?),
            12 => Frame::ClaimReply { address: self.ip()?, epoch: self.some_epoch()? },
            13 => Frame::FormerClaims(self.claims()?),
            14 => Frame::Alarm { owner: self.name()?, subnet: self.network()? },
            15 => Frame::Unreachable(self.network()?),
            16 => Frame::Offer(self.planned_move()?),
            17 => Frame::Accept(self.planned_move()?),
            18 => Frame::Decline(self.planned_move()?),
            19 => Frame::Go(self.planned_move()?),
            _ => return Err(WireError::Malformed),
        })
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
