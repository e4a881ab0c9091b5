//! The thread's loop: commands, notifications, datagrams and frames become events of the protocol, and the actions that
//! it answers with are carried out at once.
//!
//! The module `maintenance` has the work that is done from time to time.

mod maintenance;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ownership::{BootId, Config, Event, Liveness, Machine, NodeId, Notification, Time};
use runtime::BootTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::claims::Claims;
use super::links::Links;
use super::members::Members;
use super::messages::{Command, ProtocolSettings, Start, Update};
use super::table::Table;
use crate::kernel::gossip::Gossip;
use crate::model::candidacy::Candidacy;
use crate::report::metrics::Metrics;
use crate::report::state::ProtocolState;

/// Commands, or datagrams, that are taken at once before the other sources have their turn.
const AT_ONCE: usize = 64;
/// The time between two updates that an agent uses another key. Anybody can send such datagrams.
const WRONG_KEY: Duration = Duration::from_secs(10);
/// Up to so many lost addresses are reported to the protocol one by one; more are reported as a new list of all.
const LOSSES: usize = 16;
/// Actions that take longer are excused, or the protocol would take their duration for a pause of the process.
const BUSY: Duration = Duration::from_millis(100);

/// What the last update said: the state and flags of each member, whether it speaks another version, and whether all are
/// silent.
type Reported = (BTreeMap<NodeId, (Liveness, u8, bool)>, bool);

/// The protocol with its kernel, sockets and clock.
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
    members: Members,
    saved: Option<(u64, BootTime)>,
    /// Whether the port was bound when that was last reported.
    port_reported: Option<bool>,
    wrong_key: Option<BootTime>,
    /// Questions for the protocol's state with the answers so far.
    state_queries: Vec<(oneshot::Sender<ProtocolState>, ProtocolState)>,
    settings: ProtocolSettings,
    compared: BootTime,
    maintained: BootTime,
    /// What was last reported of the members.
    reported: Option<Reported>,
    /// Receives a message when the protocol has ended.
    stop: Option<oneshot::Sender<()>>,
    ended: bool,
}

/// Runs the protocol until a command stops it or no sender of commands is left.
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
            failure_detection: start.settings.failure_detection,
            announcements: start.settings.announcements.clone(),
            probe_interval: start.probe_interval,
            frames_per_second: start.frames_per_second,
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
            members: Members::new(&start.run_dir),
            saved: None,
            port_reported: None,
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

    /// Reports what is known from the beginning, in the order that the protocol expects.
    fn begin(&mut self) {
        self.bind();
        let epochs = self.claims.load();
        let adopted = self.table.adopt(&epochs).into_iter().map(|ip| (ip, epochs.get(&ip).copied()));
        self.dispatch(Event::Kernel(adopted.collect()));
        self.report_holdings();
        self.refresh();
        self.dispatch(Event::Remembered(self.members.load()));
        let ProtocolSettings { selected, excluded, current, .. } = self.settings;
        self.dispatch(Event::Selected(selected));
        self.dispatch(Event::Excluded(excluded));
        self.dispatch(Event::Watches { current });
    }

    async fn run(&mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while !self.ended {
            // An answer that has arrived must count before a deadline that has passed, whatever else has happened.
            self.receive();
            self.read_notifications();
            for _ in 0..AT_ONCE {
                match commands.try_recv() {
                    Ok(command) => self.handle_command(command),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            }
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
            let command = tokio::select! {
                _ = self.table.wait() => None,
                () = datagram_ready(self.gossip.as_ref()) => None,
                _ = self.links.ready() => None,
                command = commands.recv() => match command {
                    Some(command) => Some(command),
                    None => return,
                },
                () = sleep_until(wake) => None,
            };
            // Before anything is done: only being woken late counts, not what the thread does itself.
            self.machine.ran_late(Instant::now().duration_since(wake), clock());
            if let Some(command) = command {
                self.handle_command(command);
            }
        }
    }

    fn wake(&self) -> Instant {
        let now = BootTime::now();
        let protocol = self.machine.next_deadline().since(clock());
        let own = self.maintenance_wake();
        Instant::now() + own.since(now).min(protocol)
    }

    /// Gives the protocol an event, and does what follows from it.
    pub(super) fn dispatch(&mut self, event: Event) {
        self.dispatch_all(vec![event]);
    }

    /// Gives the protocol events that have come together, carries out its actions, and does the same with the events that
    /// follow from them.
    fn dispatch_all(&mut self, mut events: Vec<Event>) {
        while !events.is_empty() {
            let began = clock();
            let actions = self.machine.handle_all(std::mem::take(&mut events), began);
            events = self.perform(actions);
            let ended = clock();
            if ended.since(began) >= BUSY {
                self.machine.excuse(ended);
            }
        }
    }

    fn read_notifications(&mut self) {
        self.table.listen();
        let findings = self.table.take_findings();
        // Before the losses: an address that is lost with its interface must count as lost because of that.
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
        self.report_holdings();
    }

    /// Reports what the kernel has that the protocol did not put there, if that changed.
    fn report_holdings(&mut self) {
        let changes = self.table.take_holdings();
        if !changes.is_empty() {
            self.dispatch(Event::KernelHolds(changes));
        }
    }

    /// Reads everything from the kernel; returns the new list of addresses if that succeeded.
    pub(super) fn read_kernel(&mut self) -> Option<Event> {
        self.compared = BootTime::now();
        self.table.compare().then(|| self.listed())
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

    fn receive(&mut self) {
        let datagrams = self.gossip.as_mut().map(|gossip| gossip.receive(AT_ONCE)).unwrap_or_default();
        let datagrams = datagrams.into_iter().map(|(from, bytes)| Event::Datagram { from, bytes });
        let frames = self.links.receive();
        self.dispatch_all(datagrams.chain(frames).collect());
    }

    pub(super) fn handle_command(&mut self, command: Command) {
        match command {
            Command::Interfaces(interfaces) => {
                self.table.set_interfaces(*interfaces);
                self.refresh();
            }
            Command::Settings(settings) => self.apply_settings(settings),
            Command::Members(peers) => {
                self.members.save(&peers);
                self.dispatch(Event::Members(peers));
                self.maintained = BootTime::default();
            }
            Command::Candidate(candidacy) => self.set_candidacy(*candidacy),
            Command::NoCandidate(ip) => {
                self.table.forget(ip);
                self.dispatch(Event::DeleteAddress(ip));
            }
            Command::CandidatesComplete => self.dispatch(Event::AddressesListed),
            Command::Keys(keys) => self.dispatch(Event::Keys(*keys)),
            Command::State(answer) => {
                let state = ProtocolState { snapshot: self.machine.snapshot(), addresses: Vec::new() };
                self.state_queries.push((answer, state));
            }
            Command::Stop(stop, answer) => {
                self.stop = Some(answer);
                self.dispatch(Event::Stop(stop));
                self.ended |= stop == ownership::Stop::Restart;
            }
        }
    }

    fn set_candidacy(&mut self, Candidacy { want, placement, .. }: Candidacy) {
        let ip = want.address;
        // First, for the protocol may announce the address at once.
        let refused = self.table.place(placement);
        self.dispatch(Event::ApplyAddress(want));
        if refused {
            self.dispatch(Event::AddFailed(ip));
        }
    }

    fn apply_settings(&mut self, settings: ProtocolSettings) {
        let before = std::mem::replace(&mut self.settings, settings.clone());
        if before.policy != settings.policy {
            self.dispatch(Event::Policy(settings.policy));
        }
        if before.failure_detection != settings.failure_detection {
            self.dispatch(Event::FailureDetection(settings.failure_detection));
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

    /// Sends a datagram. The protocol notices by itself that a member which cannot be reached is silent.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        let sent = self.gossip.as_ref().map(|gossip| gossip.send(to, bytes));
        if let Some(Err(error)) = sent {
            self.metrics.ownership.send_errors.inc();
            tracing::debug!(op = "gossip", %to, %error, "datagram not sent");
        }
    }

    pub(super) fn send_update(&self, update: Update) {
        // Without an agent that receives it the thread is about to end.
        let _ended = self.updates.send(update);
    }

    /// Counts a fact and passes it on to the agent.
    pub(super) fn report(&mut self, fact: Notification) {
        self.metrics.ownership.count(&fact);
        if fact == Notification::Left {
            self.ended = true;
        }
        let now = BootTime::now();
        // Some facts may be very many: those are only counted.
        let only_counted = match &fact {
            Notification::Refused(ownership::Refusal::WrongKey) => {
                let reported = self.wrong_key.is_some_and(|at| now.since(at) < WRONG_KEY);
                if !reported {
                    self.wrong_key = Some(now);
                }
                reported
            }
            Notification::Refused(_) | Notification::Probed { .. } => true,
            _ => false,
        };
        if !only_counted {
            self.send_update(Update::Notification(fact));
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

/// Waits until there may be a datagram; forever without a port.
async fn datagram_ready(gossip: Option<&Gossip>) {
    match gossip {
        Some(gossip) => drop(gossip.ready().await),
        None => std::future::pending().await,
    }
}
