//! The loop: what happens becomes events of the protocol, and its actions are carried out at once.
//!
//! What is maintained at from time to time only is in `regular`.

mod maintenance;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ownership::{BootId, Config, Event, Fact, Machine, NodeId, Time, Vital};
use runtime::BootTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::claims::Claims;
use super::links::Links;
use super::messages::{Command, ProtocolSettings, Start, Update};
use super::table::Table;
use crate::kernel::gossip::Gossip;
use crate::model::candidacy::Candidacy;
use crate::report::metrics::Metrics;
use crate::report::state::ProtocolState;

/// Commands and datagrams taken at once: then the others are heard.
const AT_ONCE: usize = 64;
/// Between two updates that somebody uses another key: anybody can make us notice that.
const WRONG_KEY: Duration = Duration::from_secs(10);
/// Losses that are dealt with one by one; more of them are read from the kernel and dealt with together.
const LOSSES: usize = 16;
/// After so long with the protocol's own actions the clock is set, lest it takes them for a pause.
const BUSY: Duration = Duration::from_millis(100);

/// What people were reported: of each member, and whether all are silent.
type Reported = (BTreeMap<NodeId, (Vital, u8)>, bool);

/// The protocol and all that it needs.
pub(super) struct Driver {
    pub(super) machine: Machine,
    pub(super) table: Table,
    pub(super) links: Links,
    pub(super) gossip: Option<Gossip>,
    pub(super) metrics: Metrics,
    pub(super) updates: mpsc::UnboundedSender<Update>,
    port: u16,
    bind_at: BootTime,
    claims: Claims,
    saved: Option<(u64, BootTime)>,
    /// The kernel must be read anew.
    stale: bool,
    /// When it was reported that the port is taken, or not.
    port_told: Option<bool>,
    wrong_key: Option<BootTime>,
    /// Pictures that are being made.
    state_queries: Vec<(oneshot::Sender<ProtocolState>, ProtocolState)>,
    settings: ProtocolSettings,
    compared: BootTime,
    maintained: BootTime,
    /// What was reported last.
    reported: Option<Reported>,
    /// Whoever asked for the end.
    stop: Option<oneshot::Sender<()>>,
    ended: bool,
}

/// Runs until it is reported to stop, or nobody is left to tell it.
pub(super) fn run(
    start: Start,
    metrics: Metrics,
    commands: mpsc::UnboundedReceiver<Command>,
    updates: mpsc::UnboundedSender<Update>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(op = "ownership", %error, "cannot run"),
    };
    runtime.block_on(async {
        match Driver::new(start, metrics, updates) {
            Ok(mut driver) => driver.run(commands).await,
            Err(error) => tracing::error!(op = "ownership", %error, "cannot run"),
        }
    });
}

/// The protocol's time.
fn clock() -> Time {
    let since_boot = BootTime::now().since(BootTime::default());
    Time::from_micros(u64::try_from(since_boot.as_micros()).unwrap_or(u64::MAX))
}

fn random() -> std::io::Result<u128> {
    let mut bytes = [0; 16];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}

impl Driver {
    fn new(
        start: Start,
        metrics: Metrics,
        updates: mpsc::UnboundedSender<Update>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let boot = random()?;
        let [seed, ..] = boot.to_ne_bytes();
        let table = Table::open(&start, metrics.clone(), updates.clone())?;
        let config = Config {
            policy: start.settings.policy,
            announcements: start.settings.announcements.clone(),
            probe_interval: start.probe_interval,
            ..Config::new(start.node.clone(), BootId(boot), start.keys.clone())
        };
        let now = BootTime::now();
        let mut driver = Self {
            machine: Machine::new(config, u64::from(seed) ^ now.as_millis(), clock()),
            table,
            links: Links::open(metrics.clone())?,
            gossip: None,
            metrics,
            updates,
            port: start.port,
            bind_at: now,
            claims: Claims::new(&start.run_dir),
            saved: None,
            stale: false,
            port_told: None,
            wrong_key: None,
            state_queries: Vec::new(),
            settings: start.settings,
            compared: now,
            maintained: now,
            reported: None,
            stop: None,
            ended: false,
        };
        driver.begin();
        Ok(driver)
    }

    /// What is known from the beginning, in the protocol's order.
    fn begin(&mut self) {
        self.bind();
        let epochs = self.claims.load();
        let adopted = self.table.adopt(&epochs).into_iter().map(|ip| (ip, epochs.get(&ip).copied()));
        self.dispatch(Event::Kernel(adopted.collect()));
        self.refresh();
        let ProtocolSettings { selected, excluded, current, .. } = self.settings;
        self.dispatch(Event::Selected(selected));
        self.dispatch(Event::Excluded(excluded));
        self.dispatch(Event::Watches { current });
    }

    async fn run(&mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while !self.ended {
            self.hear_kernel();
            for _ in 0..AT_ONCE {
                match commands.try_recv() {
                    Ok(command) => self.handle_command(command),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            }
            self.hear();
            // What came until now counts before what is due now.
            if clock() >= self.machine.next_deadline() {
                self.dispatch(Event::Tick);
            }
            self.maintain();
            self.continue_state_queries();
            self.save(false);
            if self.ended || !commands.is_empty() || !self.state_queries.is_empty() {
                continue;
            }
            let wake = self.wake();
            tokio::select! {
                _ = self.table.wait() => {}
                () = heard(self.gossip.as_ref()) => {}
                _ = self.links.ready() => {}
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn wake(&self) -> Instant {
        let now = BootTime::now();
        let protocol = self.machine.next_deadline().since(clock());
        let own = self.regular_wake();
        Instant::now() + own.since(now).min(protocol)
    }

    /// Gives the protocol an event, carries out what it says, and what follows from that.
    pub(super) fn dispatch(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let began = clock();
            let actions = self.machine.handle(event, began);
            events.extend(self.perform(actions));
            let ended = clock();
            if ended.since(began) >= BUSY {
                self.machine.excuse(ended);
            }
        }
    }

    fn hear_kernel(&mut self) {
        self.table.hear();
        let findings = self.table.findings();
        self.stale |= findings.stale;
        // What is lost with its interface is lost because of that.
        if findings.interfaces {
            self.refresh();
        }
        if findings.lost.len() > LOSSES {
            self.dispatch(self.listed());
        } else {
            for ip in findings.lost {
                self.dispatch(Event::KernelLost(ip));
            }
        }
    }

    /// Reads the kernel anew; returns what the protocol is to be reported of it.
    pub(super) fn read_kernel(&mut self) -> Option<Event> {
        self.compared = BootTime::now();
        // What could not be read is read in a second.
        self.stale = !self.table.compare();
        (!self.stale).then(|| self.listed())
    }

    /// The addresses that the kernel has because of us.
    fn listed(&self) -> Event {
        Event::Kernel(self.table.listed().into_iter().map(|ip| (ip, None)).collect())
    }

    fn refresh(&mut self) {
        for event in self.links.refresh(&self.table) {
            self.dispatch(event);
        }
    }

    fn hear(&mut self) {
        let datagrams = self.gossip.as_mut().map(|gossip| gossip.receive(AT_ONCE)).unwrap_or_default();
        for (from, bytes) in datagrams {
            self.dispatch(Event::Datagram { from, bytes });
        }
        for event in self.links.hear() {
            self.dispatch(event);
        }
    }

    pub(super) fn handle_command(&mut self, command: Command) {
        match command {
            Command::LocalInterfaces(interfaces) => {
                self.table.set_interfaces(*interfaces);
                self.refresh();
            }
            Command::ProtocolSettings(settings) => self.apply_settings(settings),
            Command::Members(peers) => {
                self.dispatch(Event::Members(peers));
                self.maintained = BootTime::default();
            }
            Command::Candidate(wanted) => self.want(*wanted),
            Command::NoCandidate(ip) => {
                self.table.forget(ip);
                self.dispatch(Event::Unwant(ip));
            }
            Command::CandidatesComplete => self.dispatch(Event::WantsComplete),
            Command::Keys(keys) => self.dispatch(Event::Keys(*keys)),
            Command::State(answer) => {
                let picture = ProtocolState { snapshot: self.machine.snapshot(), addresses: Vec::new() };
                self.state_queries.push((answer, picture));
            }
            Command::Stop(stop, answer) => {
                self.stop = Some(answer);
                self.dispatch(Event::Stop(stop));
                self.ended |= stop == ownership::Stop::Restart;
            }
        }
    }

    fn want(&mut self, Candidacy { want, placement, .. }: Candidacy) {
        let ip = want.address;
        // First, so that what the protocol then announces is so.
        let refused = self.table.place(placement);
        self.dispatch(Event::Want(want));
        if refused {
            self.dispatch(Event::AddFailed(ip));
        }
    }

    fn apply_settings(&mut self, settings: ProtocolSettings) {
        let before = std::mem::replace(&mut self.settings, settings.clone());
        if before.policy != settings.policy {
            self.dispatch(Event::Policy(settings.policy));
        }
        if before.announcements != settings.announcements {
            self.dispatch(Event::Announcements(settings.announcements));
        }
        if before.selected != settings.selected {
            self.dispatch(Event::Selected(settings.selected));
        }
        if before.excluded != settings.excluded {
            self.dispatch(Event::Excluded(settings.excluded));
        }
        if before.current != settings.current {
            self.dispatch(Event::Watches { current: settings.current });
        }
    }

    /// Sends a datagram. Whoever cannot be reached is silent, which the protocol notices by itself.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let sent = self.gossip.as_ref().map(|gossip| gossip.send(to, bytes));
        if let Some(Err(error)) = sent {
            self.metrics.ownership.send_errors.inc();
            tracing::debug!(op = "gossip", %to, %error, "datagram not sent");
        }
    }

    pub(super) fn update(&self, update: Update) {
        // Without an agent to tell, the thread is about to end.
        let _ended = self.updates.send(update);
    }

    /// Tells people, and whoever waits for the end.
    pub(super) fn tell(&mut self, fact: Fact) {
        self.metrics.ownership.count(&fact);
        if fact == Fact::Left {
            self.ended = true;
        }
        let now = BootTime::now();
        // Counted they are all; there may be very many of some.
        let quiet = match &fact {
            Fact::Refused(ownership::Refusal::WrongKey) => {
                let reported = self.wrong_key.is_some_and(|at| now.since(at) < WRONG_KEY);
                if !reported {
                    self.wrong_key = Some(now);
                }
                reported
            }
            Fact::Refused(_) | Fact::Probed { .. } => true,
            _ => false,
        };
        if !quiet {
            self.update(Update::Fact(fact));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.save(true);
        if let Some(stop) = self.stop.take() {
            let _nobody_waits = stop.send(());
        }
    }
}

/// Waits until there may be a datagram; never, without a port.
async fn heard(gossip: Option<&Gossip>) {
    match gossip {
        Some(gossip) => drop(gossip.ready().await),
        None => std::future::pending().await,
    }
}
