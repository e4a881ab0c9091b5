//! Addresses that the client asks for each millisecond, and what must be true of the answers.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    base::wait::eventually,
    cluster::handle::Cluster,
    observers::neighbor::{monitor::ArpMonitor, observations::Observations},
    testing::waits::DEADLINE,
    topology::mac::Mac,
};

/// A host that has answered alone for this time is taken for the owner.
pub const STEADY: Duration = Duration::from_millis(700);

/// A silence that is shorter may be the machine's, which does other things too.
const SHORT: Duration = Duration::from_millis(100);

/// Addresses and their monitors.
#[derive(Debug)]
pub struct Watched<const N: usize> {
    /// The addresses.
    pub addresses: [IpAddr; N],
    /// A monitor of each.
    pub monitors: [ArpMonitor; N],
}

impl<const N: usize> Watched<N> {
    /// Asks for them from now on.
    pub fn new(cluster: &Cluster, addresses: [IpAddr; N]) -> Self {
        let monitors = addresses.map(|address| cluster.client().monitor(address).unwrap());
        Self { addresses, monitors }
    }

    /// Waits until one host each answers steadily, and these are right.
    pub async fn answered_by(&self, right: impl Fn([Mac; N]) -> bool) {
        eventually(DEADLINE, format!("steady answers for {:?} by the right hosts", self.addresses), async || {
            let macs = self.monitors.each_ref().map(|monitor| monitor.steady(STEADY));
            let all = macs.iter().all(Option::is_some);
            if all && right(macs.map(Option::unwrap)) { Ok(()) } else { Err(format!("{macs:?}")) }
        })
        .await
        .unwrap();
    }

    /// What was observed of each since then.
    pub fn since(&self, from: Instant) -> [Observations; N] {
        self.monitors.each_ref().map(|monitor| monitor.so_far().since(from))
    }

    /// A moment after which each has answered: what is seen from it on begins with who answers now.
    pub async fn answers(&self) -> Instant {
        let from = Instant::now();
        eventually(DEADLINE, "an answer from each", async || {
            if self.since(from).iter().all(|observed| observed.last_mac().is_some()) { Ok(()) } else { Err("silence") }
        })
        .await
        .unwrap();
        from
    }

    /// Each moved from one node to another since then, a moment of [`Self::answers`], with no more than this long
    /// without an answer, and never two.
    pub fn assert_moved_once(&self, from: Instant, longest: Duration) {
        for (address, observed) in self.addresses.iter().zip(self.since(from)) {
            let owners = observed.owners();
            assert_eq!(owners.len(), 2, "{address}: {owners:?}");
            let (gap, double) = (observed.longest_silence(), observed.overlap());
            assert!(gap < longest, "{address}: no answer for {gap:?}");
            assert!(double < SHORT, "{address}: two answers for {double:?}");
        }
    }

    /// The same host answered all the time, and alone.
    pub fn assert_undisturbed(&self, from: Instant) {
        for (address, observed) in self.addresses.iter().zip(self.since(from)) {
            assert_eq!(observed.macs().len(), 1, "{address} was answered for by {:?}", observed.macs());
            let gap = observed.longest_silence();
            assert!(gap < SHORT, "{address}: no answer for {gap:?}");
        }
    }

    /// This host answered all the time, and nobody else answered or announced.
    pub fn assert_only(&self, mac: Mac, from: Instant) {
        self.assert_undisturbed(from);
        self.assert_never(from, |other| other != mac);
    }

    /// No host of this kind answered or announced since then.
    pub fn assert_never(&self, from: Instant, wrong: impl Fn(Mac) -> bool) {
        for (address, observed) in self.addresses.iter().zip(self.since(from)) {
            let all = observed.answers().chain(observed.announcements());
            let bad: Vec<Mac> = all.map(|(_, mac)| mac).filter(|mac| wrong(*mac)).collect();
            assert!(bad.is_empty(), "{address}: {} answers and announcements, the first by {}", bad.len(), bad[0]);
        }
    }
}
