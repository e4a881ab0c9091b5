//! Reading the claims of others: changes and pages.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::claims::own::BATCH;
use crate::claims::replica::Reading;
use crate::claims::table::Claims;
use crate::model::node::NodeId;
use crate::wire::{Change, Epoch, Frame};

impl Claims {
    /// Takes changes; returns the addresses concerned.
    pub fn apply_changes(&mut self, node: &NodeId, from: u64, to: u64, changes: &[Change]) -> Vec<IpAddr> {
        let replica = self.replicas.entry(node.clone()).or_default();
        if replica.version == 0 || from > replica.version || to <= replica.version {
            return Vec::new();
        }
        let skip = usize::try_from(replica.version - from).unwrap_or(usize::MAX);
        replica.version = to;
        replica.asked = None;
        let mut concerned = Vec::new();
        for (address, epoch) in changes.iter().skip(skip) {
            if self.put(node, *address, *epoch) {
                concerned.push(*address);
            }
        }
        concerned
    }

    /// Takes a page; returns the addresses concerned, and the next pull if this was not the end.
    pub fn apply_page(
        &mut self,
        node: &NodeId,
        version: u64,
        after: Option<IpAddr>,
        claims: &[(IpAddr, Epoch)],
        last: bool,
    ) -> (Vec<IpAddr>, Option<Frame>) {
        let replica = self.replicas.entry(node.clone()).or_default();
        if replica.version >= version {
            return (Vec::new(), None);
        }
        if after.is_none() {
            replica.reading = Some(Reading { version, claims: BTreeMap::new(), pages: 0 });
        }
        let Some(reading) = replica.reading.as_mut() else { return (Vec::new(), None) };
        let expected = reading.claims.last_key_value().map(|(address, _)| *address);
        if reading.version != version || expected != after {
            return (Vec::new(), None);
        }
        reading.claims.extend(claims.iter().copied());
        reading.pages += 1;
        let end_of_batch = reading.pages.is_multiple_of(BATCH);
        let mut concerned = Vec::new();
        if last {
            replica.asked = None;
            let complete = replica.reading.take().map(|reading| reading.claims).unwrap_or_default();
            let gone: Vec<_> =
                replica.claims.keys().filter(|address| !complete.contains_key(address)).copied().collect();
            replica.version = version;
            for (address, epoch) in
                gone.into_iter().map(|gone| (gone, None)).chain(complete.into_iter().map(|(a, e)| (a, Some(e))))
            {
                if self.put(node, address, epoch) {
                    concerned.push(address);
                }
            }
            return (concerned, None);
        }
        // What is read is known at once; only what is missing has to wait for the end.
        for (address, epoch) in claims {
            if self.put(node, *address, Some(*epoch)) {
                concerned.push(*address);
            }
        }
        let next =
            claims.last().filter(|_| end_of_batch).map(|(address, _)| Frame::Pull { since: 0, after: Some(*address) });
        (concerned, next)
    }
}
