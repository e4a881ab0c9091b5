//! A network namespace for a test.

use std::future::Future;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lbnodeagent::netlink::Kernel;
use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread of its own, in a network namespace of its own: a namespace belongs to
/// a thread, and whatever the thread starts inherits it.
pub fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root: cannot make a network namespace");
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A second network namespace, for the far end of a wire: a thread that does there what it is told.
pub struct Far {
    /// The thread's id, by which `ip` knows the namespace.
    pub thread: i32,
    orders: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Far {
    pub fn new() -> Self {
        let (orders, ordered) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (said, heard) = mpsc::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root: cannot make a network namespace");
            ip("link set lo up");
            said.send(nix::unistd::gettid().as_raw()).unwrap();
            for order in ordered {
                order();
            }
        });
        Self { thread: heard.recv().expect("the far end is not there"), orders }
    }

    /// Does something there and waits for the result.
    pub fn run<T: Send + 'static>(&self, order: impl FnOnce() -> T + Send + 'static) -> T {
        let (said, heard) = mpsc::channel();
        let order = move || {
            let _ = said.send(order());
        };
        self.orders.send(Box::new(order)).expect("the far end is gone");
        heard.recv().expect("the far end failed")
    }
}

/// Runs `ip` and returns what it prints; it must succeed.
pub fn ip(arguments: &str) -> String {
    let (success, output) = try_ip(arguments);
    assert!(success, "ip {arguments}: {output}");
    output
}

/// Runs `ip`.
pub fn try_ip(arguments: &str) -> (bool, String) {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("the command ip is missing");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Adds an interface without hardware below it: a dummy, or where the kernel has none an ifb,
/// which behaves the same.
pub fn add_dummy(name: &str) {
    let added = ["dummy", "ifb"].iter().any(|kind| try_ip(&format!("link add {name} type {kind}")).0);
    assert!(added, "this kernel has neither dummy nor ifb interfaces");
}

/// The addresses of an interface, one line each as `ip -o` prints them, link-local ones left out.
pub fn addresses(interface: &str) -> Vec<String> {
    let (success, text) = try_ip(&format!("-o -d address show dev {interface}"));
    if !success {
        return Vec::new();
    }
    let lines = text.lines().filter(|line| !line.contains("inet6 fe80:"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The addresses of an interface as CIDRs, sorted as text, link-local ones left out.
pub fn cidrs(interface: &str) -> Vec<String> {
    // Not by `ip`: starting a program takes longer than what is measured with this.
    let observed = Kernel::open().unwrap().dump().unwrap();
    let Some(index) = observed.index_of(interface) else { return Vec::new() };
    let ours = observed.addresses.iter().filter(|(key, found)| key.index == index && found.scope == 0);
    let mut found: Vec<String> = ours.map(|(key, _)| format!("{}/{}", key.ip, key.prefix_len)).collect();
    found.sort();
    found
}

/// What `ip monitor` says of addresses and routes, as a routing daemon hears it.
pub struct Monitor(std::process::Child, std::path::PathBuf);

impl Monitor {
    pub fn start() -> Self {
        let (process, thread) = (std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(format!("lbnodeagent-monitor-{process}-{thread:?}"));
        let file = std::fs::File::create(&path).unwrap();
        let child = Command::new("ip").args(["-o", "monitor", "address", "route"]).stdout(file).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        Self(child, path)
    }

    /// All of it.
    pub fn lines(self) -> Vec<String> {
        std::thread::sleep(Duration::from_millis(50));
        let text = std::fs::read_to_string(&self.1).unwrap();
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// What went.
    pub fn deletions(self) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.starts_with("Deleted")).collect()
    }
}

/// Also when the test fails.
impl Drop for Monitor {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait()).and_then(|_| std::fs::remove_file(&self.1));
        if let Err(error) = ended {
            eprintln!("clean-up: {error}");
        }
    }
}

/// Runs several commands of `ip` at once, a line each; they must succeed.
pub fn ip_batch(lines: &str) {
    use std::io::Write as _;
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip -batch: {lines}");
}

/// Waits until something holds; returns how long that took.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}
