//! Simulated time: what is scheduled happens in order.

use std::cmp::Reverse;
use std::time::Duration;

use ownership::Event;

use super::cluster::{Cluster, Scheduled};

impl Cluster {
    pub fn schedule(&mut self, delay: Duration, what: Scheduled) {
        self.count += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(what);
        self.queue.push(Reverse((self.now + delay, self.count, place)));
    }

    pub fn run(&mut self, length: Duration) {
        let end = self.now + length;
        let mut budget = 20_000
            + 2000
                * u64::try_from(self.nodes.len() * (1 + self.specs.len())).unwrap()
                * u64::try_from(length.as_millis() / 100 + 1).unwrap();
        loop {
            budget -= 1;
            if budget == 0 {
                self.fail("a storm: too many events");
            }
            self.measure_changes();
            let Some(Reverse((at, _, place))) = self.queue.peek().copied() else { break };
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            self.free.push(place);
            if let Some(what) = self.events[place].take() {
                self.process(what);
            }
        }
        self.now = end;
        self.measure_changes();
    }

    pub fn process(&mut self, what: Scheduled) {
        match what {
            Scheduled::Wake(node) => {
                if self.nodes[node].wake == Some(self.now) {
                    self.nodes[node].wake = None;
                    self.deliver(node, Event::Tick);
                }
            }
            Scheduled::Deliver(node, event) => self.deliver(node, event),
            Scheduled::Leases(node) => {
                self.nodes[node].listing = false;
                let mut members = self.leases();
                members.retain(|peer| !self.unlisted.contains(&(node, peer.node.clone())));
                self.deliver(node, Event::Members(members));
            }
            Scheduled::Probed { to, by, target, segment } => self.answer_probe(to, by, target, segment),
            Scheduled::Named(address, node) => self.name_owner(address, node),
            Scheduled::Run(node) => self.run_agent(node),
            Scheduled::Pause(node, _) => {
                self.nodes[node].paused = false;
                let buffered = std::mem::take(&mut self.nodes[node].buffered);
                self.handle(node, Event::Tick);
                for event in buffered {
                    self.handle(node, event);
                }
            }
        }
    }
}
