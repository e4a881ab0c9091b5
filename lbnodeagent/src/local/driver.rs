//! The loop: what happens becomes events of the protocol, and its actions are carried out at once.
//!
//! What is looked at from time to time only is in `regular`.

mod regular;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ownership::{BootId, Config, Event, Liveness, Machine, NodeId, Notification, Time};
use runtime::BootTime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::claims::Claims;
use super::table::Table;
use super::wire::Wire;
use super::{Command, Picture, Report, Rules, Start, Wanted};
use crate::gossip::Gossip;
use crate::metrics::Metrics;

/// Commands and datagrams taken at once: then the others are heard.
const AT_ONCE: usize = 64;
/// Between two reports that somebody uses another key: anybody can make us notice that.
const WRONG_KEY: Duration = Duration::from_secs(10);
/// Losses that are dealt with one by one; more of them are read from the kernel and dealt with together.
const LOSSES: usize = 16;
/// After so long with the protocol's own actions the clock is set, lest it takes them for a pause.
const BUSY: Duration = Duration::from_millis(100);

/// What people were told: of each member, and whether all are silent.
type Told = (BTreeMap<NodeId, (Liveness, u8)>, bool);

/// The protocol and all that it needs.
pub(super) struct Driver {
    pub(super) machine: Machine,
    pub(super) table: Table,
    pub(super) wire: Wire,
    pub(super) gossip: Option<Gossip>,
    pub(super) metrics: Metrics,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    port: u16,
    bind_at: BootTime,
    claims: Claims,
    saved: Option<(u64, BootTime)>,
    /// The kernel must be read anew.
    unsure: bool,
    /// When it was told that the port is taken, or not.
    port_told: Option<bool>,
    wrong_key: Option<BootTime>,
    /// Pictures that are being made.
    pictures: Vec<(oneshot::Sender<Picture>, Picture)>,
    rules: Rules,
    compared: BootTime,
    looked: BootTime,
    /// What was told last.
    told: Option<Told>,
    /// Whoever asked for the end.
    stop: Option<oneshot::Sender<()>>,
    ended: bool,
}

/// Runs until it is told to stop, or nobody is left to tell it.
pub(super) fn run(
    start: Start,
    metrics: Metrics,
    commands: mpsc::UnboundedReceiver<Command>,
    reports: mpsc::UnboundedSender<Report>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(op = "ownership", %error, "cannot run"),
    };
    runtime.block_on(async {
        match Driver::new(start, metrics, reports) {
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
        reports: mpsc::UnboundedSender<Report>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let boot = random()?;
        let [seed, ..] = boot.to_ne_bytes();
        let table = Table::open(&start, metrics.clone(), reports.clone())?;
        let config = Config {
            policy: start.rules.policy,
            announcements: start.rules.announcements.clone(),
            probe_interval: start.probe_interval,
            ..Config::new(start.node.clone(), BootId(boot), start.keys.clone())
        };
        let now = BootTime::now();
        let mut driver = Self {
            machine: Machine::new(config, u64::from(seed) ^ now.as_millis(), clock()),
            table,
            wire: Wire::open(metrics.clone())?,
            gossip: None,
            metrics,
            reports,
            port: start.port,
            bind_at: now,
            claims: Claims::new(&start.run_dir),
            saved: None,
            unsure: false,
            port_told: None,
            wrong_key: None,
            pictures: Vec::new(),
            rules: start.rules,
            compared: now,
            looked: now,
            told: None,
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
        self.feed(Event::Kernel(adopted.collect()));
        self.refresh();
        let Rules { selected, excluded, current, .. } = self.rules;
        self.feed(Event::Selected(selected));
        self.feed(Event::Excluded(excluded));
        self.feed(Event::Watches { current });
    }

    async fn run(&mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        while !self.ended {
            self.hear_kernel();
            for _ in 0..AT_ONCE {
                match commands.try_recv() {
                    Ok(command) => self.obey(command),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            }
            self.hear();
            // What came until now counts before what is due now.
            if clock() >= self.machine.next_deadline() {
                self.feed(Event::Tick);
            }
            self.look();
            self.draw();
            self.save(false);
            if self.ended || !commands.is_empty() || !self.pictures.is_empty() {
                continue;
            }
            let wake = self.wake();
            tokio::select! {
                _ = self.table.wait() => {}
                () = heard(self.gossip.as_ref()) => {}
                _ = self.wire.ready() => {}
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
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
    pub(super) fn feed(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let began = clock();
            let actions = self.machine.handle(event, began);
            events.extend(self.carry_out(actions));
            let ended = clock();
            if ended.since(began) >= BUSY {
                self.machine.excuse(ended);
            }
        }
    }

    fn hear_kernel(&mut self) {
        self.table.hear();
        let news = self.table.news();
        self.unsure |= news.unsure;
        // What is lost with its interface is lost because of that.
        if news.interfaces {
            self.refresh();
        }
        if news.lost.len() > LOSSES {
            self.feed(self.listed());
        } else {
            for ip in news.lost {
                self.feed(Event::KernelLost(ip));
            }
        }
    }

    /// Reads the kernel anew; returns what the protocol is to be told of it.
    pub(super) fn read_kernel(&mut self) -> Option<Event> {
        self.compared = BootTime::now();
        // What could not be read is read in a second.
        self.unsure = !self.table.compare();
        (!self.unsure).then(|| self.listed())
    }

    /// The addresses that the kernel has because of us.
    fn listed(&self) -> Event {
        Event::Kernel(self.table.listed().into_iter().map(|ip| (ip, None)).collect())
    }

    fn refresh(&mut self) {
        for event in self.wire.refresh(&self.table) {
            self.feed(event);
        }
    }

    fn hear(&mut self) {
        let datagrams = self.gossip.as_mut().map(|gossip| gossip.receive(AT_ONCE)).unwrap_or_default();
        for (from, bytes) in datagrams {
            self.feed(Event::Datagram { from, bytes });
        }
        for event in self.wire.hear() {
            self.feed(event);
        }
    }

    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Scope(scope) => {
                self.table.set_scope(*scope);
                self.refresh();
            }
            Command::Rules(rules) => self.set_rules(rules),
            Command::Members(peers) => {
                self.feed(Event::Members(peers));
                self.looked = BootTime::default();
            }
            Command::Want(wanted) => self.want(*wanted),
            Command::Unwant(ip) => {
                self.table.forget(ip);
                self.feed(Event::DeleteAddress(ip));
            }
            Command::WantsComplete => self.feed(Event::AddressesListed),
            Command::Keys(keys) => self.feed(Event::Keys(*keys)),
            Command::Show(answer) => {
                let picture = Picture { snapshot: self.machine.snapshot(), addresses: Vec::new() };
                self.pictures.push((answer, picture));
            }
            Command::Stop(stop, answer) => {
                self.stop = Some(answer);
                self.feed(Event::Stop(stop));
                self.ended |= stop == ownership::Stop::Restart;
            }
        }
    }

    fn want(&mut self, Wanted { want, placement, .. }: Wanted) {
        let ip = want.address;
        // First, so that what the protocol then announces is so.
        let refused = self.table.place(placement);
        self.feed(Event::ApplyAddress(want));
        if refused {
            self.feed(Event::AddFailed(ip));
        }
    }

    fn set_rules(&mut self, rules: Rules) {
        let before = std::mem::replace(&mut self.rules, rules.clone());
        if before.policy != rules.policy {
            self.feed(Event::Policy(rules.policy));
        }
        if before.announcements != rules.announcements {
            self.feed(Event::Announcements(rules.announcements));
        }
        if before.selected != rules.selected {
            self.feed(Event::Selected(rules.selected));
        }
        if before.excluded != rules.excluded {
            self.feed(Event::Excluded(rules.excluded));
        }
        if before.current != rules.current {
            self.feed(Event::Watches { current: rules.current });
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

    pub(super) fn report(&self, report: Report) {
        // Without an agent to tell, the thread is about to end.
        let _ended = self.reports.send(report);
    }

    /// Tells people, and whoever waits for the end.
    pub(super) fn tell(&mut self, fact: Notification) {
        self.metrics.ownership.count(&fact);
        if fact == Notification::Left {
            self.ended = true;
        }
        let now = BootTime::now();
        // Counted they are all; there may be very many of some.
        let quiet = match &fact {
            Notification::Refused(ownership::Refusal::WrongKey) => {
                let told = self.wrong_key.is_some_and(|at| now.since(at) < WRONG_KEY);
                if !told {
                    self.wrong_key = Some(now);
                }
                told
            }
            Notification::Refused(_) | Notification::Probed { .. } => true,
            _ => false,
        };
        if !quiet {
            self.report(Report::Notification(fact));
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
