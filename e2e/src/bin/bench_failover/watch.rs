//! Watches the Service's addresses from the client while an event happens, and returns the measurements.

use e2e::BenchResult as Result;
use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use e2e::{ArpMonitor, Connector, Mac, Node};

use crate::{
    bench::{Bench, PATIENCE},
    figures::{Figures, Sample},
    service::PORT,
    standstill::Standstill,
};

/// A host that has answered alone for this time counts as the owner.
const STEADY: Duration = Duration::from_secs(1);

/// The time between two checks.
const LOOK: Duration = Duration::from_millis(20);

/// A phase of a run: its line in the table, its beginning and its end.
pub(crate) type Phase = (&'static str, Instant, Instant);

impl Bench {
    /// Watches the Service from a state in which all agents are ready and one node answers for both addresses.
    pub(crate) async fn watch(&self) -> Result<Watch<'_>> {
        self.cluster.agents_ready(PATIENCE).await?;
        let mut watch = Watch::start(self, self.addresses)?;
        watch.begin(PATIENCE).await?;
        if !watch.one_owner() {
            // In an earlier run the two addresses moved to different nodes.
            self.rebalance().await?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            watch.begin(PATIENCE).await?;
        }
        Ok(watch)
    }
}

/// Watches an address of each family.
pub(crate) struct Watch<'a> {
    bench: &'a Bench,
    monitors: [ArpMonitor; 2],
    connectors: [Connector; 2],
    standstill: Standstill,
    /// The host that answered for each address at the beginning.
    first: [Option<Mac>; 2],
}

impl<'a> Watch<'a> {
    /// Starts the watch, whichever hosts answer.
    pub(crate) fn start(bench: &'a Bench, addresses: [IpAddr; 2]) -> Result<Self> {
        let client = bench.cluster.client();
        let [v4, v6] = addresses;
        let connect = |address| client.connect_continuously(SocketAddr::new(address, PORT));
        Ok(Self {
            bench,
            monitors: [client.monitor(v4)?, client.monitor(v6)?],
            connectors: [connect(v4), connect(v6)],
            standstill: Standstill::watch(),
            first: [None; 2],
        })
    }

    /// Waits until one host answers for each address, and remembers it.
    pub(crate) async fn begin(&mut self, deadline: Duration) -> Result<()> {
        if !self.wait(deadline, |_, mac| mac.is_some()).await {
            return Err(format!("no host, or more than one, answers after {deadline:?}").into());
        }
        self.first = self.steady();
        Ok(())
    }

    /// The node that answered for the IPv4 address at the beginning.
    pub(crate) fn owner(&self) -> Result<Node> {
        let [mac, _] = self.first;
        self.bench.node_of(mac.ok_or("nobody answered")?)
    }

    /// Whether one node answered for both addresses at the beginning.
    pub(crate) fn one_owner(&self) -> bool {
        let [v4, v6] = self.first;
        v4 == v6
    }

    /// Waits until other hosts answer steadily for the owner's addresses. Returns whether that happened in time.
    pub(crate) async fn taken_over(&self, deadline: Duration) -> bool {
        let [owner, _] = self.first;
        let concerned = self.concerned();
        self.wait(deadline, |family, mac| {
            !concerned.get(family).is_some_and(|it| *it) || mac.is_some_and(|mac| Some(mac) != owner)
        })
        .await
    }

    /// Waits until one host answers steadily for each address. Returns whether that happened in time.
    pub(crate) async fn answered(&self, deadline: Duration) -> bool {
        self.wait(deadline, |_, mac| mac.is_some()).await
    }

    /// Waits until `good` returns true for both families. It gets the host that answers steadily.
    async fn wait(&self, deadline: Duration, good: impl Fn(usize, Option<Mac>) -> bool) -> bool {
        let end = Instant::now() + deadline;
        loop {
            if self.steady().into_iter().enumerate().all(|(family, mac)| good(family, mac)) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The hosts that answer steadily.
    pub(crate) fn steady(&self) -> [Option<Mac>; 2] {
        self.monitors.each_ref().map(|monitor| monitor.steady(STEADY))
    }

    /// The hosts that have answered within the last 50 ms.
    pub(crate) fn answering(&self) -> [std::collections::BTreeSet<Mac>; 2] {
        self.monitors.each_ref().map(|monitor| monitor.answering(Duration::from_millis(50)))
    }

    /// How many unsolicited announcements of each address a host has sent since then.
    pub(crate) fn announced(&self, by: Mac, since: Instant) -> [usize; 2] {
        self.monitors
            .each_ref()
            .map(|monitor| monitor.so_far().since(since).announcements().filter(|(_, mac)| *mac == by).count())
    }

    /// For each address, whether events at the owner of the IPv4 address concern it.
    fn concerned(&self) -> [bool; 2] {
        [true, self.one_owner()]
    }

    /// Ends the watch. Returns the figures of each phase.
    pub(crate) fn end(self, phases: &[Phase]) -> Result<Vec<Sample>> {
        let concerned = self.concerned();
        let [v4, v6] = self.monitors;
        let observed = [v4.stop()?, v6.stop()?];
        let [v4, v6] = self.connectors;
        let connections = [v4.stop()?, v6.stop()?];
        let figures = |family: usize, from: Instant, to: Instant| {
            let (observed, connections) = (observed.get(family)?.between(from, to), connections.get(family)?);
            concerned.get(family).is_some_and(|it| *it).then(|| Figures {
                longest: observed.longest_silence(),
                without: observed.without_answer(),
                double: observed.overlap(),
                moves: observed.owners().len().saturating_sub(1),
                tried: connections.tried(from, to),
                failed: connections.failed(from, to),
            })
        };
        let sample = |(line, from, to): &Phase| Sample {
            line,
            figures: [figures(0, *from, *to), figures(1, *from, *to)],
            standstill: self.standstill.longest(*from, *to),
            note: None,
            good: true,
        };
        Ok(phases.iter().map(sample).collect())
    }
}
