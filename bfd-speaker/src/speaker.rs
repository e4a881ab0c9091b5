//! The loop between the sockets, the clock and the files, and the table of sessions.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use bfd::report::{self, Report};
use bfd::{Action, Datagram, Event, Rng, Table, Time};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::time::TimeSpec;

use crate::clock;
use crate::ending::{Ending, Step};
use crate::files::Files;
use crate::log;
use crate::ports::Ports;
use crate::scheduling::{self, Class};
use crate::send::Sender;
use crate::sources::Sources;

/// Counters are written so often while there are peers.
const REPORT: Duration = Duration::from_secs(10);

/// A change waits so long for others before it is written.
const GATHER: Duration = Duration::from_millis(20);

/// Datagrams of one socket in a row; the others and the clock come in between.
const IN_A_ROW: usize = 64;

/// The longest that a peer is asked to wait for the next process, also if no restart has been measured.
const LONGEST_RESTART: Duration = Duration::from_secs(30);

/// The shortest: an update may need longer than the restart that was measured.
const SHORTEST_RESTART: Duration = Duration::from_secs(10);

/// How many times the measured time of a restart a peer is asked to wait.
const MARGIN: u32 = 3;

/// The speaker.
pub struct Speaker {
    table: Table,
    ports: Ports,
    sender: Sender,
    files: Files,
    sources: Sources,
    class: Class,
    /// The measured time of a planned restart.
    restart: Option<Duration>,
    /// The table's version in the last report, and when that was handed over.
    reported: (u64, Time),
    /// Since when a change waits to be written.
    dirty: Option<Time>,
    ending: Ending,
}

impl Speaker {
    /// Goes on with what the process before has left.
    ///
    /// # Errors
    /// When the system gives no randomness, descriptor or thread.
    pub fn new(directory: PathBuf, before: Option<&Report>) -> Result<Self, std::io::Error> {
        let now = clock::now();
        let mut sources = Sources::resume(before.map_or(&[], |report| &report.sources));
        sources.read(&directory);
        let peers = before.map_or(&[][..], |report| &report.peers);
        let stopped =
            before.and_then(|report| report.stopped_at_microseconds).map(Duration::from_micros).map(Time::new);
        // A later one is of another boot.
        let measured = stopped.filter(|at| *at < now).map(|at| now.since(at));
        let earlier = before.and_then(|report| report.restart_microseconds).map(Duration::from_micros);
        // A longer one was no restart.
        let restart = measured.filter(|time| *time < LONGEST_RESTART * 10).or(earlier);
        let seed = || getrandom::u64().map_err(std::io::Error::other);
        Ok(Self {
            table: Table::new(Rng::new(seed()?), peers),
            ports: Ports::default(),
            sender: Sender::new(Rng::new(seed()?), peers),
            files: Files::start(directory, sources.clone())?,
            sources,
            class: Class::Normal,
            restart,
            reported: (0, Time::default()),
            dirty: None,
            ending: Ending::default(),
        })
    }

    /// Speaks until a signal comes.
    pub fn run(mut self, signals: &SignalFd) {
        // After the other threads have begun, which are not to have it.
        self.class = scheduling::raise();
        self.configure();
        let peers = self.table.served().count();
        let sessions = self.table.report().iter().map(|peer| peer.sessions.len()).sum::<usize>();
        log!(
            Info,
            "speaking",
            peers = peers,
            sessions = sessions,
            scheduling = self.class.name(),
            restartMilliseconds = self.restart.map(|time| report::micros(time) / 1000)
        );
        loop {
            let ready = self.wait(signals);
            self.receive();
            let now = clock::now();
            if self.table.next_deadline().is_some_and(|at| at <= now) {
                self.handle(Event::Tick);
            }
            if self.ports.next_deadline().is_some_and(|at| at <= now) && self.ports.open(now) {
                self.dirty.get_or_insert(now);
            }
            if ready && self.news() {
                self.configure();
            }
            if ready {
                self.read_signals(signals, now);
            }
            if self.ends(now) {
                break;
            }
            self.report(now);
        }
        let mut report = self.describe();
        report.stopped_at_microseconds = Some(report.written_at_microseconds);
        log!(Info, "ends", patient = self.table.is_slow());
        self.files.finish(report);
    }

    /// Waits for a datagram, a signal, news or a deadline. Returns whether there may be news or a signal.
    fn wait(&self, signals: &SignalFd) -> bool {
        let now = clock::now();
        let report = self.dirty.map(|since| since.after(GATHER));
        let counters = (self.table.served().count() > 0).then(|| self.reported.1.after(REPORT));
        let deadlines =
            [self.table.next_deadline(), self.ports.next_deadline(), report, counters, self.ending.next_deadline()];
        let timeout = deadlines.into_iter().flatten().min().map(|at| TimeSpec::from_duration(at.since(now)));
        let news = self.files.descriptor();
        let mut descriptors =
            vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(news.as_fd(), PollFlags::POLLIN)];
        descriptors.extend(self.ports.sockets().map(|(_, socket)| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        let _ = ppoll(&mut descriptors, timeout, None);
        descriptors.iter().take(2).any(|descriptor| descriptor.any().unwrap_or(false))
    }

    fn receive(&mut self) {
        let Self { ports, table, sender, .. } = self;
        for (port, socket) in ports.sockets() {
            for _ in 0..IN_A_ROW {
                let received = port.receive(socket, |datagram: Datagram<'_>| {
                    perform(sender, table.handle(clock::now(), Event::Datagram(datagram)));
                });
                if !received {
                    break;
                }
            }
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        perform(&mut self.sender, self.table.handle(clock::now(), event));
    }

    fn news(&mut self) -> bool {
        let Some(sources) = self.files.news() else { return false };
        self.sources = sources;
        true
    }

    fn configure(&mut self) {
        let now = clock::now();
        // The ports first: the first answer to a resumed session must find one.
        let union = self.sources.union();
        self.ports.serve(now, union.iter().map(|(peer, _)| peer));
        self.handle(Event::Peers(union));
        self.sender.retain(&self.table.report());
        for key in self.table.beyond_limit() {
            log!(
                Warn,
                "a peer is not served: there are too many",
                peer = key.address.to_string(),
                limit = bfd::peer::MAX_SESSIONS
            );
        }
        self.dirty.get_or_insert(now);
    }

    fn read_signals(&mut self, signals: &SignalFd, now: Time) {
        while let Ok(Some(received)) = signals.read_signal() {
            let number = i32::try_from(received.ssi_signo).ok();
            if let Some(signal) = number.and_then(|number| Signal::try_from(number).ok()) {
                self.ending = self.ending.after(signal, now);
            }
        }
    }

    /// Whether it is time to end.
    fn ends(&mut self, now: Time) -> bool {
        let host = self.sources.shutting_down();
        match self.ending.step(now, host, self.table.is_slow()) {
            Step::Continue => false,
            Step::SlowDown => {
                let wait = self
                    .restart
                    .map_or(LONGEST_RESTART, |time| (time * MARGIN).clamp(SHORTEST_RESTART, LONGEST_RESTART));
                log!(Info, "asked to end", peersWaitMilliseconds = report::micros(wait) / 1000);
                self.handle(Event::SlowDown(wait));
                // Without a session there is nobody to ask.
                self.ending.step(now, host, self.table.is_slow()) == Step::End
            }
            Step::End => true,
        }
    }

    fn report(&mut self, now: Time) {
        if self.table.version() != self.reported.0 {
            self.dirty.get_or_insert(now);
        }
        let changed = self.dirty.is_some_and(|since| now >= since.after(GATHER));
        let counters = self.table.served().count() > 0 && now >= self.reported.1.after(REPORT);
        if changed || counters {
            self.files.write(self.describe());
            self.reported = (self.table.version(), now);
            self.dirty = None;
        }
    }

    fn describe(&self) -> Report {
        let mut peers = self.table.report();
        for session in peers.iter_mut().flat_map(|peer| &mut peer.sessions) {
            session.source_port = self.sender.port(session.local_discriminator);
        }
        Report {
            version: report::VERSION,
            written_at_microseconds: report::micros(clock::now().since_zero()),
            stopped_at_microseconds: None,
            restart_microseconds: self.restart.map(report::micros),
            scheduling: self.class.name().to_owned(),
            ports: self.ports.report(),
            sources: self.sources.report(),
            peers,
            peers_beyond_limit: self.table.beyond_limit().iter().map(|key| key.address).collect(),
            strangers: self.table.strangers(),
            last_stranger: self.table.last_stranger(),
            pauses: self.table.pauses(),
        }
    }
}

fn perform(sender: &mut Sender, actions: Vec<Action>) {
    for action in actions {
        match action {
            Action::Send(packet) => sender.send(&packet),
            Action::Close { discriminator } => sender.close(discriminator),
            Action::Changed { peer, hops, transition } => log!(
                Info,
                "session changed",
                peer = peer.address.to_string(),
                interface = peer.interface,
                port = hops.port(),
                from = transition.from.to_string(),
                to = transition.to.to_string(),
                diagnostic = transition.diagnostic.to_string(),
            ),
            Action::Refused { peer, refusal } => {
                log!(
                    Warn,
                    "a packet of a peer was refused",
                    peer = peer.address.to_string(),
                    reason = refusal.to_string()
                );
            }
        }
    }
}
