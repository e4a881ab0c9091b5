//! Agents: they start, stop and pause, give events to their machines, and carry out the actions.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use ownership::{Action, BootId, Config, Event, Keys, LinkId, Machine, NeighborFrame, Notification, ProbeKind, Stop};

use super::addressing::{PORT, mac, own};
use super::cluster::{Cluster, Scheduled};
use super::setup::Setup;

/// How late the agent of a busy node runs each second time, in milliseconds.
const BUSY: Range<usize> = 50..401;

impl Cluster {
    pub fn power_on(&mut self, node: usize) {
        self.note(format!("power on {node}"));
        self.nodes[node].powered = true;
        self.measured = false;
        self.start_agent(node);
    }

    pub fn power_off(&mut self, node: usize) {
        self.note(format!("power off {node}"));
        self.kill_agent(node);
        let node = &mut self.nodes[node];
        node.powered = false;
        node.kernel.clear();
        node.file.clear();
        node.remembered.clear();
        self.measured = false;
    }

    pub fn kill_agent(&mut self, node: usize) {
        self.note(format!("kill agent {node}"));
        let node = &mut self.nodes[node];
        node.machine = None;
        node.paused = false;
        node.awaited = false;
        node.due = None;
        node.buffered.clear();
        node.wake = None;
        node.specs.clear();
        node.unplaced.clear();
        node.groups.clear();
    }

    pub fn start_agent(&mut self, node: usize) {
        if !self.nodes[node].powered || self.nodes[node].machine.is_some() || self.nodes[node].earlier {
            return;
        }
        self.note(format!("start agent {node}"));
        let seed = self.rng.next();
        let state = &mut self.nodes[node];
        state.boots += 1;
        let boot = BootId(state.boots * 1000 + u128::try_from(node).unwrap());
        let probe_interval = self.setup.probe_interval;
        let key = [if state.wrong_key { 8 } else { 7 }; 32];
        let Setup { frames_per_second, failure_detection, .. } = self.setup;
        let config = Config {
            probe_interval,
            frames_per_second,
            failure_detection,
            ..Config::new(state.id.clone(), boot, Keys::new(&key, None))
        };
        state.machine = Some(Machine::new(config, seed, self.now));
        state.version = 0;
        let found: Vec<_> = state.kernel.iter().map(|a| (*a, state.file.get(a).copied())).collect();
        self.deliver(node, Event::Kernel(found));
        let holdings = self.nodes[node].holdings.iter().map(|(address, holding)| (*address, Some(*holding))).collect();
        self.deliver(node, Event::KernelHolds(holdings));
        for segment in 0..self.segments() {
            self.report_link(node, segment);
        }
        let remembered = self.nodes[node].remembered.clone();
        self.deliver(node, Event::Remembered(remembered));
        let excluded = self.nodes[node].excluded;
        self.deliver(node, Event::Excluded(excluded));
        self.deliver(node, Event::Watches { current: self.api });
        if self.api {
            self.list(node);
            for other in 0..self.nodes.len() {
                if other != node && self.nodes[other].machine.is_some() {
                    let delay = u64::try_from(self.rng.below(30)).unwrap();
                    // The list that comes next has this one too.
                    if !std::mem::replace(&mut self.nodes[other].listing, true) {
                        self.schedule(Duration::from_millis(delay), Scheduled::Leases(other));
                    }
                }
            }
        }
    }

    pub fn pause(&mut self, node: usize, length: Duration) {
        if self.nodes[node].machine.is_some() {
            self.note(format!("pause {node} for {length:?}"));
            self.nodes[node].paused = true;
            self.schedule(length, Scheduled::Pause(node, false));
        }
    }

    pub fn stop(&mut self, node: usize, stop: Stop) {
        self.deliver(node, Event::Stop(stop));
    }

    /// Interfaces are numbered by their segment on the way; each node has its own numbers.
    pub fn localized(&mut self, node: usize, mut event: Event) -> Option<Event> {
        let now = self.now;
        let node = &mut self.nodes[node];
        let place = match &mut event {
            Event::Link(link) => &mut link.id,
            Event::ApplyAddress(spec) => {
                node.specs.insert(spec.address, spec.clone());
                if node.unplaced.remove(&spec.address) {
                    node.kernel.insert(spec.address);
                    self.changed.push(spec.address);
                }
                &mut spec.link
            }
            Event::Seen { frame: NeighborFrame::Request { target: target @ IpAddr::V6(_), .. }, .. }
                if !node.kernel.contains(target) && node.groups.get(target).is_none_or(|until| *until < now) =>
            {
                return None;
            }
            Event::Seen { link, .. } => link,
            Event::DeleteAddress(address) => {
                node.specs.remove(address);
                return Some(event);
            }
            _ => return Some(event),
        };
        if *place == LinkId(1) {
            *place = node.link;
        }
        Some(event)
    }

    pub fn deliver(&mut self, node: usize, event: Event) {
        if let Some(event) = self.localized(node, event) {
            self.handle(node, event);
        }
    }

    pub fn handle(&mut self, node: usize, event: Event) {
        let now = self.now;
        let state = &mut self.nodes[node];
        if state.paused || state.busy {
            if matches!(event, Event::Tick) {
                state.due = state.due.or(Some(now));
            }
            // A socket's buffer overflows; a watch does not.
            let packet = matches!(event, Event::Datagram { .. } | Event::Seen { .. });
            if !matches!(event, Event::Tick) && (!packet || state.buffered.len() < 200) {
                state.buffered.push_back(event);
            }
            if !state.paused && !std::mem::replace(&mut state.awaited, true) {
                let late = self.rng.below(2) == 0;
                let delay = if late { BUSY.start + self.rng.below(BUSY.len()) } else { 0 };
                let delay = u64::try_from(delay).unwrap();
                self.schedule(Duration::from_millis(delay), Scheduled::Run(node));
            }
            return;
        }
        self.handle_all(node, vec![event]);
    }

    /// The processors of a node are busy from now on, or not any more.
    pub fn set_busy(&mut self, node: usize, busy: bool) {
        if std::mem::replace(&mut self.nodes[node].busy, busy) != busy {
            self.note(format!("{node} is busy: {busy}"));
            self.run_agent(node);
        }
    }

    /// The agent of a busy node runs: what has come by now is handled, and then what is due.
    pub fn run_agent(&mut self, node: usize) {
        let now = self.now;
        let state = &mut self.nodes[node];
        state.awaited = false;
        if !state.paused {
            if let (Some(due), Some(machine)) = (state.due.take(), &mut state.machine) {
                machine.ran_late(now.since(due), now);
            }
            let events = std::mem::take(&mut state.buffered).into_iter().chain([Event::Tick]).collect();
            self.handle_all(node, events);
        }
    }

    fn handle_all(&mut self, node: usize, events: Vec<Event>) {
        let now = self.now;
        let state = &mut self.nodes[node];
        let Some(machine) = state.machine.as_mut() else { return };
        let mut texts = Vec::new();
        for event in &events {
            match event {
                Event::Members(peers) => state.remembered.clone_from(peers),
                Event::Tick
                | Event::Datagram { .. }
                | Event::Seen { .. }
                | Event::Remembered(_)
                | Event::ApplyAddress(_) => {}
                other => texts.push(format!("{other:?}")),
            }
        }
        let began = Instant::now();
        let actions = machine.handle_all(events, now);
        self.slowest = self.slowest.max(began.elapsed());
        if machine.version() != state.version {
            state.version = machine.version();
            state.file = machine.claims().collect();
        }
        let next = machine.next_deadline().max(now + Duration::from_micros(100));
        let wake = (state.wake != Some(next)).then_some(next);
        for text in texts {
            self.note(format!("{node}: event {text}"));
        }
        if let Some(next) = wake {
            self.nodes[node].wake = Some(next);
            self.schedule(next.since(now), Scheduled::Wake(node));
        }
        let adds = actions.iter().filter(|action| matches!(action, Action::Add { .. })).count();
        self.most_adds = self.most_adds.max(adds);
        if self.verbose {
            for action in actions.iter().filter(|action| !matches!(action, Action::Send { .. } | Action::Notify(_))) {
                self.note(format!("{node}: {action:?}"));
            }
            self.note(format!("{node}: handled; next {:?}", self.nodes[node].wake));
        }
        for action in actions {
            self.carry_out(node, action);
        }
    }

    pub fn carry_out(&mut self, node: usize, action: Action) {
        if let Some(digest) = &mut self.digest {
            digest.add(self.now.as_micros(), node, &action);
        }
        match action {
            Action::Send { to, bytes } => {
                self.nodes[node].sent += 1;
                self.nodes[node].bytes += u64::try_from(bytes.len()).unwrap();
                assert!(bytes.len() <= 1232, "a datagram of {} bytes", bytes.len());
                if let Some((host, segment)) = self.locate(to.ip()).filter(|_| !self.block_udp) {
                    let from = SocketAddr::new(own(node, segment)[usize::from(to.is_ipv6())], PORT);
                    if self.verbose {
                        self.note(format!(
                            "{node}: {} bytes to {host} on {segment}: {}",
                            bytes.len(),
                            self.net.carries(self.port(node, segment), self.port(host, segment))
                        ));
                    }
                    self.transmit(node, host, segment, Event::Datagram { from, bytes });
                }
            }
            Action::Probe { link, target, to, kind } => {
                self.count_question(node, to, kind);
                self.probe(node, link, target, to, kind);
            }
            Action::Add { address, .. } => {
                self.note(format!("{node}: add {address}"));
                if self.nodes[node].refuses {
                    return self.schedule(Duration::ZERO, Scheduled::Deliver(node, Event::AddFailed(address)));
                }
                self.check_earlier(node, address);
                self.nodes[node].kernel.insert(address);
                self.changed.push(address);
                self.check_epoch(node, address);
                self.note_owner(address, node);
            }
            Action::Remove { address, .. } => {
                self.note(format!("{node}: remove {address}"));
                self.nodes[node].kernel.remove(&address);
                self.nodes[node].unplaced.remove(&address);
                self.changed.push(address);
            }
            Action::Renew => {}
            Action::Announce { address, .. } => {
                self.announced += 1;
                if !self.net.mute.contains(&self.port(node, 0)) {
                    self.cache.insert(address, node);
                }
                self.count_announcement(node);
                for other in 0..self.nodes.len() {
                    if other != node {
                        let frame = NeighborFrame::Announcement(address);
                        self.transmit(node, other, 0, Event::Seen { link: LinkId(1), mac: mac(node, 0), frame });
                    }
                }
            }
            Action::Introduce { address, host, to, .. } => {
                self.count_question(node, to, ProbeKind::Reach);
                self.introduced.push((self.now, node, address, host));
                for other in (0..self.nodes.len()).filter(|other| *other != node && to.is_none()) {
                    let request = NeighborFrame::Request { target: host, sender: Some(address) };
                    for frame in [request, NeighborFrame::Announcement(address)] {
                        self.transmit(node, other, 0, Event::Seen { link: LinkId(1), mac: mac(node, 0), frame });
                    }
                }
            }
            Action::ReadKernel => {
                let state = &self.nodes[node];
                let found = state.kernel.iter().map(|a| (*a, state.file.get(a).copied())).collect();
                self.deliver(node, Event::Kernel(found));
            }
            Action::Notify(notification) => {
                if !matches!(notification, Notification::Refused(_)) {
                    self.note(format!("{node}: {notification:?}"));
                }
                self.nodes[node].notifications.push((self.now, notification));
            }
        }
    }

    /// Epochs only grow, and two claims of one epoch are a conflict that must be settled later.
    pub fn check_epoch(&mut self, node: usize, address: IpAddr) {
        let Some(machine) = self.nodes[node].machine.as_ref() else { return };
        let Some(state) = machine.address(address) else { return };
        let own: Vec<_> = self.epochs.get(&address).into_iter().flatten().filter(|(_, by)| **by == node).collect();
        let highest = own.iter().map(|(epoch, _)| **epoch).max();
        let fresh = self.nodes[node].boots;
        if let Some(highest) = highest
            && fresh == 1
            && state.epoch < highest
        {
            self.fail(&format!("node {node} claims {address} by epoch {} after {highest}", state.epoch));
        }
        self.epochs.entry(address).or_default().insert(state.epoch, node);
    }
}
