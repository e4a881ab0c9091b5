//! The program under test on its node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bfd::report::{PeerReport, Report, SessionReport};
use bfd::wanted::{WantedPeer, file_name};
use bfd::{State, Wanted};

use crate::lab::{Directory, Namespace, Program, bound, until};

pub struct Node {
    pub namespace: Namespace,
    pub speaker: Option<Program>,
    /// For the log.
    pub directory: Directory,
    /// What stands for `/run/purelb/bfd`.
    pub shared: PathBuf,
}

impl Node {
    /// A node whose program is not started yet.
    pub fn new(namespace: Namespace) -> Self {
        let directory = Directory::new();
        let shared = directory.path().to_owned();
        Self { namespace, speaker: None, directory, shared }
    }

    pub fn start(&mut self) {
        self.speaker = Some(self.start_another());
    }

    /// Starts the program a second time.
    pub fn start_another(&self) -> Program {
        self.start_as(bound(Path::new(env!("CARGO_BIN_EXE_bfd-speaker"))))
    }

    pub fn start_as(&self, mut command: Command) -> Program {
        command.env("PURELB_BFD_DIRECTORY", &self.shared);
        self.namespace.start(command, &self.directory.path().join("log"))
    }

    pub fn stop(&mut self) -> Duration {
        self.speaker.take().unwrap().stop()
    }

    pub fn kill(&mut self) {
        drop(self.speaker.take().unwrap());
    }

    pub fn want(&self, source: &str, peers: &[WantedPeer]) {
        self.write(source, &serde_json::to_string(&Wanted::new(peers.to_vec())).unwrap());
    }

    /// As a source writes its file.
    pub fn write(&self, source: &str, text: &str) {
        let path = self.shared.join(file_name(source));
        std::fs::write(path.with_extension("new"), text).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }

    pub fn report(&self) -> Option<Report> {
        serde_json::from_slice(&std::fs::read(self.shared.join("state.json")).ok()?).ok()
    }

    pub fn peer(&self, address: &str) -> Option<PeerReport> {
        self.report()?.peers.into_iter().find(|peer| peer.address.to_string() == address)
    }

    /// The first session with a peer.
    pub fn session(&self, address: &str) -> Option<SessionReport> {
        self.peer(address)?.sessions.into_iter().next()
    }

    pub fn wait_until_up(&self, address: &str) -> SessionReport {
        let up = || {
            self.session(address)
                .filter(|session| session.state == State::Up && session.transmit_interval_microseconds < 1_000_000)
        };
        until(&format!("the node is up with {address}"), Duration::from_secs(15), || up().is_some());
        up().unwrap()
    }
}

pub fn peer(address: &str) -> WantedPeer {
    WantedPeer::new(address.parse().unwrap())
}

/// A node and a router on one cable: `10.77.0.2` and `10.77.0.1`, `fd77::2` and `fd77::1`, `fe80::2` and `fe80::1`.
pub fn cable() -> (Node, Namespace) {
    let (node, router) = (Namespace::new(), Namespace::new());
    node.cable("eth0", &router, "eth0");
    for (namespace, number) in [(&node, 2), (&router, 1)] {
        namespace.ip(&format!("addr add 10.77.0.{number}/24 dev eth0"));
        namespace.ip(&format!("addr add fd77::{number}/64 dev eth0 nodad"));
        namespace.ip(&format!("addr add fe80::{number}/64 dev eth0 nodad"));
    }
    (Node::new(node), router)
}
