//! The task: it writes what is wanted, and shows what `bfd-speaker` sees.

use std::path::PathBuf;
use std::time::Duration;

use ::bfd::Wanted;
use ::bfd::report::Report;
use api_types::CalicoBfd;
use api_types::names::reason;
use calico::Router;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use nix::time::{ClockId, clock_gettime};
use runtime::events::{Event, EventQueue, Kind};
use runtime::{BootTime, Task};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::changes::{Changes, Notice};
use super::directory::Directory;
use super::exports::problem;
use super::metrics::BfdMetrics;
use super::routers::Routers;
use super::settings::{Settings, Shown, TaskEnd};
use super::settled::Settled;
use super::view::{entries, is_fresh};
use super::wanted::Peers;
use super::watch::{self as watches, Update};

/// How often the report is looked at, and what depends on time alone.
const TICK: Duration = Duration::from_secs(1);

/// What the task uses to reach the outside.
pub struct Outside {
    /// The API server.
    pub client: Client,
    /// Where Kubernetes events go.
    pub events: EventQueue,
    /// The series.
    pub metrics: BfdMetrics,
}

/// Starts the task. It ends when the result is dropped; what is wanted then stays.
pub fn start(node: String, directory: PathBuf, outside: Outside, end: TaskEnd) -> Task {
    let directory = Directory::new(directory);
    let peers = Peers::resume(directory.before());
    let mut worker = Worker {
        node,
        directory,
        outside,
        end,
        settings: None,
        routers: Routers::default(),
        peers,
        watches: None,
        wanted: None,
        report: None,
        changes: Changes::default(),
        write_error: String::new(),
        exports: String::new(),
        settled: Settled::default(),
    };
    // Before the first Lease of this run: what the last one said stays.
    worker.read_report();
    worker.show();
    Task::spawn(worker.run())
}

struct Worker {
    node: String,
    directory: Directory,
    outside: Outside,
    end: TaskEnd,
    settings: Option<Settings>,
    routers: Routers,
    peers: Peers,
    /// The watches of Calico's objects, and what they deliver, unless Calico is to be ignored.
    watches: Option<(Vec<Task>, mpsc::Receiver<Update>)>,
    wanted: Option<Wanted>,
    report: Option<Report>,
    changes: Changes,
    write_error: String,
    /// What is wrong with what this node passes on to routers.
    exports: String,
    settled: Settled,
}

impl Worker {
    async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.end.settings.changed() => match changed {
                    Ok(()) => self.settings.clone_from(&self.end.settings.borrow_and_update()),
                    Err(_) => return,
                },
                Some((what, group, event)) = next(&mut self.watches) => match event {
                    Some(event) => self.routers.apply(what, group, event),
                    None => self.routers.absent(what, group),
                },
                _ = tick.tick() => self.look(),
            }
            self.watch();
            self.write();
            self.show();
        }
    }

    /// Starts or ends the watches of Calico's objects.
    fn watch(&mut self) {
        let config = self.settings.as_ref().and_then(|settings| settings.config.as_ref());
        let Some(config) = config else { return };
        match (config.calico == CalicoBfd::Disabled, self.watches.is_some()) {
            (true, true) => (self.watches, self.routers) = (None, Routers::default()),
            (false, false) => {
                let (sender, receiver) = mpsc::channel(64);
                self.watches = Some((watches::start(&self.outside.client, &sender), receiver));
            }
            _ => {}
        }
    }

    /// Writes what is wanted. While the configuration cannot be used, the peers stay.
    fn write(&mut self) {
        let Some(settings) = &self.settings else { return };
        if let Some(config) = &settings.config {
            let routers = self.routers.of(&self.node, &settings.labels).unwrap_or_default();
            let routers: Vec<&Router> = routers.into_iter().map(|(_, router)| router).collect();
            let known = self.routers.are_known();
            self.peers.update(config, (&routers, known), &settings.calico, BootTime::now());
        }
        let wanted = self.peers.wanted(settings.shutting_down);
        let error = self.directory.write(&wanted).err().map(|error| error.to_string()).unwrap_or_default();
        if error != self.write_error && !error.is_empty() && !wanted.peers.is_empty() {
            tracing::warn!(
                op = "bfd",
                error,
                "cannot write which routers are to be answered by BFD: is the component bfd of the manifests installed?"
            );
        }
        self.write_error = error;
        self.wanted = Some(wanted);
    }

    fn read_report(&mut self) {
        match self.directory.report() {
            Ok(None) => {}
            Ok(Some(report)) => self.report = Some(report),
            Err(error) => tracing::warn!(op = "bfd", %error, "cannot read the state of bfd-speaker"),
        }
    }

    /// Looks for a new report.
    fn look(&mut self) {
        self.read_report();
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::MAX, Duration::from);
        let fresh = self.report.as_ref().filter(|report| is_fresh(report, now));
        self.outside.metrics.show(fresh);
        let notices = fresh.map(|report| self.changes.compare(report, BootTime::now())).unwrap_or_default();
        for notice in notices {
            self.publish(notice);
        }
        self.look_at_exports();
    }

    /// Reports if what this node passes on to routers has begun to be wrong, or in another way.
    fn look_at_exports(&mut self) {
        let Some(settings) = &self.settings else { return };
        let problem = problem(&self.routers, &self.node, &settings.labels, &settings.calico, &settings.routed)
            .unwrap_or_default();
        if problem != self.exports && !problem.is_empty() {
            self.publish(Notice { kind: Kind::Warning, reason: reason::CALICO_EXPORTS, text: problem.clone() });
        }
        self.exports = problem;
    }

    fn show(&mut self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::MAX, Duration::from);
        let fresh = self.report.as_ref().filter(|report| is_fresh(report, now));
        let peers = entries(self.wanted.as_ref(), fresh);
        self.settled.update(BootTime::now(), peers.iter().map(|peer| &peer.report));
        let exports = Some(self.exports.clone()).filter(|problem| !problem.is_empty());
        replace(&self.end.shown, Shown { peers, exports });
        replace(&self.end.routers, self.settled.routers());
    }

    fn publish(&self, Notice { kind, reason, text }: Notice) {
        match kind {
            Kind::Normal => tracing::info!(op = "bfd", event = reason, "{text}"),
            Kind::Warning => tracing::warn!(op = "bfd", event = reason, "{text}"),
        }
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.node.clone()),
            uid: self.settings.as_ref().map(|settings| settings.uid.clone()),
            ..ObjectReference::default()
        };
        let note = format!("node {}: {text}", self.node);
        self.outside.events.publish(Event { object, kind, reason, note });
    }
}

/// Hands something over if it has changed.
fn replace<T: PartialEq>(sender: &watch::Sender<T>, new: T) {
    sender.send_if_modified(|present| {
        let changed = *present != new;
        *present = new;
        changed
    });
}

/// What a watch delivers next; never returns without watches.
async fn next(watches: &mut Option<(Vec<Task>, mpsc::Receiver<Update>)>) -> Option<Update> {
    match watches {
        Some((_, updates)) => updates.recv().await,
        None => std::future::pending().await,
    }
}
