//! Debian's FRR: zebra and bfdd.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Directory, Namespace, Program, until};

pub struct Router {
    pub namespace: Namespace,
    /// Before the directory, so that it ends first.
    bfdd: Option<Program>,
    _zebra: Program,
    directory: Directory,
}

impl Router {
    /// With peers as `bfdd.conf` has them, two spaces before each line of a peer's settings.
    pub fn start(namespace: Namespace, peers: &str) -> Self {
        let directory = Directory::new();
        let owner = Command::new("chown").arg("frr:frr").arg(directory.path()).status().unwrap();
        assert!(owner.success(), "there is no user frr; install Debian's package frr");
        std::fs::write(directory.path().join("zebra.conf"), "hostname router\n").unwrap();
        std::fs::write(directory.path().join("bfdd.conf"), format!("bfd\n{peers}")).unwrap();
        let zebra = namespace.start(daemon("zebra", directory.path()), &directory.path().join("zebra.log"));
        let socket = directory.path().join("zserv.api");
        until("zebra is there", Duration::from_secs(10), || socket.exists());
        let mut router = Self { namespace, bfdd: None, _zebra: zebra, directory };
        router.start_bfdd();
        router
    }

    pub fn start_bfdd(&mut self) {
        let mut command = daemon("bfdd", self.directory.path());
        command.arg("--bfdctl").arg(self.directory.path().join("bfdd.sock"));
        self.bfdd = Some(self.namespace.start(command, &self.directory.path().join("bfdd.log")));
    }

    pub fn kill_bfdd(&mut self) {
        self.bfdd = None;
    }

    fn vtysh(&self, commands: &[&str]) -> String {
        let mut vtysh = Command::new("vtysh");
        vtysh.arg("--vty_socket").arg(self.directory.path());
        for command in commands {
            vtysh.args(["-c", command]);
        }
        String::from_utf8_lossy(&vtysh.output().expect("vtysh is missing").stdout).into_owned()
    }

    /// Changes the settings of a peer.
    pub fn configure(&self, peer: &str, settings: &[&str]) {
        let peer = format!("peer {peer}");
        self.vtysh(&[&["configure terminal", "bfd", &peer], settings].concat());
    }

    fn peer(&self, show: &str, address: &str) -> Value {
        let peers: Vec<Value> = serde_json::from_str(&self.vtysh(&[show])).unwrap_or_default();
        peers.into_iter().find(|peer| peer["peer"] == address).unwrap_or_default()
    }

    /// The router's session with an address.
    pub fn session(&self, address: &str) -> Value {
        self.peer("show bfd peers json", address)
    }

    pub fn is_up(&self, address: &str) -> bool {
        self.session(address)["status"] == "up"
    }

    pub fn wait_until_up(&self, address: &str) -> Duration {
        until(&format!("the router is up with {address}"), Duration::from_secs(15), || self.is_up(address))
    }

    /// How often its session went down.
    pub fn losses(&self, address: &str) -> u64 {
        self.peer("show bfd peers counters json", address)["session-down"].as_u64().expect("bfdd does not answer")
    }
}

fn daemon(name: &str, directory: &Path) -> Command {
    let path = |name: &str| -> PathBuf { directory.join(name) };
    let mut command = Command::new(format!("/usr/lib/frr/{name}"));
    command.arg("-f").arg(path(&format!("{name}.conf"))).args(["-P", "0"]).arg("--vty_socket").arg(directory);
    command.arg("-z").arg(path("zserv.api")).arg("-i").arg(path(&format!("{name}.pid")));
    command
}
