//! Addresses that this node's kernel has and that the machine did not put there.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::io::KernelHolding;
use crate::model::node::NodeId;
use crate::model::time::{Time, ms};
use crate::wire::ClaimAnswer;

/// Between two statements to members of an address which this node's kernel has from somebody else.
const TELL: Duration = ms(500);

/// What this node's kernel has beside the addresses of the machine.
#[derive(Debug, Default)]
pub struct KernelHoldings {
    remote: BTreeSet<IpAddr>,
    foreign: BTreeSet<IpAddr>,
    /// When members were last told of foreign addresses.
    told: Option<Time>,
    /// The last of those members, where not all are told at once.
    pub last_told: Option<NodeId>,
}

impl KernelHoldings {
    /// The kernel has an address in this way from now on, or does not have it any more.
    pub fn apply(&mut self, address: IpAddr, holding: Option<KernelHolding>) {
        self.remote.remove(&address);
        self.foreign.remove(&address);
        let added = match holding {
            Some(KernelHolding::Remote) => self.remote.insert(address),
            Some(KernelHolding::Foreign) => self.foreign.insert(address),
            None => false,
        };
        if added && holding == Some(KernelHolding::Foreign) {
            self.told = None;
        }
    }

    /// Whether the kernel has the address from somebody else.
    #[must_use]
    pub fn is_foreign(&self, address: IpAddr) -> bool {
        self.foreign.contains(&address)
    }

    /// What a member that asks for an address which this node does not claim is told.
    #[must_use]
    pub fn answer(&self, address: IpAddr) -> ClaimAnswer {
        if self.foreign.contains(&address) {
            ClaimAnswer::HeldForeign
        } else if self.remote.contains(&address) {
            ClaimAnswer::HeldRemote
        } else {
            ClaimAnswer::Nothing
        }
    }

    /// The addresses of which members are to be told that the kernel has them from somebody else; none between two times.
    pub fn due(&mut self, now: Time) -> Vec<IpAddr> {
        if self.foreign.is_empty() || now.is_within(self.told, TELL) {
            return Vec::new();
        }
        self.told = Some(now);
        self.foreign.iter().copied().collect()
    }
}
