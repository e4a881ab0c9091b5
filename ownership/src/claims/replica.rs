//! What this node knows of another node's claims.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::node::BootId;
use crate::model::time::Time;
use crate::wire::{Epoch, Frame};

/// Pages of a version that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    pub version: u64,
    pub claims: BTreeMap<IpAddr, Epoch>,
    pub pages: usize,
}

/// The claims of one node, as of a version.
#[derive(Debug, Default)]
pub(super) struct Replica {
    pub boot: Option<BootId>,
    pub version: u64,
    pub digest: u64,
    pub claims: BTreeMap<IpAddr, Epoch>,
    pub reading: Option<Reading>,
    pub asked: Option<Time>,
}

impl Replica {
    /// The question for what is missing of a version.
    pub fn pull(&mut self, version: u64, now: Time) -> Frame {
        self.asked = Some(now);
        let after = self.reading.as_ref().filter(|reading| reading.version == version);
        let after = after.and_then(|reading| reading.claims.last_key_value()).map(|(address, _)| *address);
        let since = if after.is_some() { 0 } else { self.version };
        Frame::Pull { since, after }
    }
}
