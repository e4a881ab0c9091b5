//! The parts that frames are made of: numbers as LEB128, names and lists with their length first.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::model::node::NodeId;
use crate::wire::error::WireError;
use crate::wire::frame::{Epoch, MAX_CLAIMS};

/// Writes a body.
#[derive(Debug)]
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn number(&mut self, mut number: u64) {
        loop {
            let low = number.to_le_bytes().first().copied().unwrap_or(0) & 0x7f;
            number >>= 7;
            self.byte(if number == 0 { low } else { low | 0x80 });
            if number == 0 {
                return;
            }
        }
    }

    pub fn length(&mut self, length: usize) {
        self.byte(u8::try_from(length).unwrap_or(u8::MAX));
    }

    pub fn name(&mut self, node: &NodeId) {
        self.length(node.as_str().len());
        self.0.extend_from_slice(node.as_str().as_bytes());
    }

    pub fn ip(&mut self, address: IpAddr) {
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

    pub fn some_ip(&mut self, address: Option<IpAddr>) {
        match address {
            Some(address) => self.ip(address),
            None => self.byte(0),
        }
    }

    pub fn network(&mut self, network: IpNetwork) {
        self.ip(network.network());
        self.byte(network.prefix());
    }

    pub fn some_epoch(&mut self, epoch: Option<Epoch>) {
        self.number(epoch.map_or(0, |epoch| epoch.saturating_add(1)));
    }

    pub fn claims(&mut self, claims: &[(IpAddr, Epoch)]) {
        self.length(claims.len().min(MAX_CLAIMS));
        for (address, epoch) in claims.iter().take(MAX_CLAIMS) {
            self.ip(*address);
            self.number(*epoch);
        }
    }
}

/// Reads a body; whatever it returns was within the bytes that it was given.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    pub fn byte(&mut self) -> Result<u8, WireError> {
        let (first, rest) = self.0.split_first().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn number(&mut self) -> Result<u64, WireError> {
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

    pub fn small(&mut self) -> Result<u32, WireError> {
        u32::try_from(self.number()?).map_err(|_| WireError::Malformed)
    }

    pub fn flag(&mut self) -> Result<bool, WireError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Malformed),
        }
    }

    pub fn name(&mut self) -> Result<NodeId, WireError> {
        let length = usize::from(self.byte()?);
        let (name, rest) = self.0.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.0 = rest;
        std::str::from_utf8(name).ok().and_then(NodeId::new).ok_or(WireError::Malformed)
    }

    pub fn some_ip(&mut self) -> Result<Option<IpAddr>, WireError> {
        match self.byte()? {
            0 => Ok(None),
            4 => Ok(Some(IpAddr::from(self.array::<4>()?))),
            6 => Ok(Some(IpAddr::from(self.array::<16>()?))),
            _ => Err(WireError::Malformed),
        }
    }

    pub fn ip(&mut self) -> Result<IpAddr, WireError> {
        self.some_ip()?.ok_or(WireError::Malformed)
    }

    pub fn network(&mut self) -> Result<IpNetwork, WireError> {
        let (address, prefix) = (self.ip()?, self.byte()?);
        let network = IpNetwork::new(address, prefix).map_err(|_| WireError::Malformed)?;
        (network.network() == address).then_some(network).ok_or(WireError::Malformed)
    }

    pub fn some_epoch(&mut self) -> Result<Option<Epoch>, WireError> {
        Ok(self.number()?.checked_sub(1))
    }

    pub fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, WireError>) -> Result<Vec<T>, WireError> {
        let length = usize::from(self.byte()?);
        if length > MAX_CLAIMS {
            return Err(WireError::Malformed);
        }
        (0..length).map(|_| item(self)).collect()
    }

    pub fn claims(&mut self) -> Result<Vec<(IpAddr, Epoch)>, WireError> {
        self.list(|input| Ok((input.ip()?, input.number()?)))
    }
}
