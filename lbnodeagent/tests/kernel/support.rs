//! A network namespace for a test.

use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use lbnodeagent::kernel::netlink::requests::Kernel;
use nix::sched::{CloneFlags, unshare};

/// How long a test waits for something.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test on a thread of its own, in a network namespace of its own: a namespace belongs to
/// a thread, and whatever the thread starts inherits it.
pub fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root: cannot make a network namespace");
        ip("link set lo up");
        // Dropped after the runtime, with which its agents end.
        let _kept = Kept::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Where the agents of this thread's test keep what outlives them.
pub fn run_dir() -> PathBuf {
    let (process, thread) = (std::process::id(), std::thread::current().id());
    std::env::temp_dir().join(format!("lbnodeagent-{process}-{thread:?}"))
}

/// Whether a thread of an agent is in this network namespace: it ends some time after its agent, and may write meanwhile.
pub fn an_agent_is_left() -> bool {
    let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    // Threads end while this is read.
    let is_one = |thread: PathBuf| {
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim_end() == "ownership")
            && std::fs::read_link(thread.join("ns/net")).is_ok_and(|there| there == here)
    };
    std::fs::read_dir("/proc/self/task").unwrap().flatten().any(|thread| is_one(thread.path()))
}

/// Removes what agents keep: before the test, because the names of its process and thread were those of others before,
/// and after it.
struct Kept;

impl Kept {
    fn new() -> Self {
        Self::remove();
        Self
    }

    fn remove() {
        match std::fs::remove_dir_all(run_dir()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => eprintln!("clean-up: {error}"),
            _ => {}
        }
    }
}

/// Also when the test fails.
impl Drop for Kept {
    fn drop(&mut self) {
        within(Duration::from_secs(2), || !an_agent_is_left());
        Self::remove();
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
/// which behaves the same. An agent may have been faster.
pub fn add_dummy(name: &str) {
    let added = ["dummy", "ifb"].iter().any(|kind| try_ip(&format!("link add {name} type {kind}")).0);
    let is_there = || try_ip(&format!("link show dev {name}")).0;
    assert!(added || is_there(), "this kernel has neither dummy nor ifb interfaces");
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

/// Whether a line of `ip` has this lifetime in seconds, `valid` or `preferred`. A busy machine shows what is left of it.
pub fn lasts(line: &str, which: &str, seconds: u32) -> bool {
    let left = line.split_once(&format!("{which}_lft ")).and_then(|(_, rest)| rest.split_once("sec"));
    let left = left.and_then(|(left, _)| left.parse().ok());
    left.is_some_and(|left| (seconds.saturating_sub(10)..=seconds).contains(&left))
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
pub struct Monitor(std::process::Child, PathBuf);

/// How the addresses begin by which a [`Monitor`] knows how far `ip` is: link-local, which no agent heeds.
const MARK: &str = "fe80::b:";
/// The number of the last one.
static MARKS: AtomicU16 = AtomicU16::new(0);

impl Monitor {
    pub fn start() -> Self {
        Self::of(&[], &["address", "route"])
    }

    /// What it says of these, with these options.
    pub fn of(options: &[&str], objects: &[&str]) -> Self {
        let (process, thread) = (std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(format!("lbnodeagent-monitor-{process}-{thread:?}"));
        let file = std::fs::File::create(&path).unwrap();
        let child =
            Command::new("ip").arg("-o").args(options).arg("monitor").args(objects).stdout(file).spawn().unwrap();
        let monitor = Self(child, path);
        // It joins the kernel's groups, and drops what it hears while it reads the interfaces: until then it is deaf.
        let hears = within(PATIENCE, || monitor.gets_to_a_mark(Duration::from_millis(20)));
        assert!(hears, "ip monitor does not listen");
        monitor
    }

    /// Whether it says of an address of ours that it is new, and so has said all that happened before.
    fn gets_to_a_mark(&self, time: Duration) -> bool {
        let mark = format!("{MARK}{:x}/128", MARKS.fetch_add(1, Ordering::Relaxed));
        ip(&format!("address add {mark} dev lo"));
        within(time, || std::fs::read_to_string(&self.1).unwrap().contains(&mark))
    }

    /// All of it until now.
    pub fn so_far(&self) -> Vec<String> {
        assert!(self.gets_to_a_mark(PATIENCE), "ip monitor has stopped");
        let text = std::fs::read_to_string(&self.1).unwrap();
        let lines = text.lines().filter(|line| !line.contains(MARK));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// All of it, and the end.
    pub fn lines(self) -> Vec<String> {
        self.so_far()
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
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    start.elapsed()
}

/// Whether something holds within a time. Nothing else on this thread runs meanwhile.
fn within(time: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if start.elapsed() >= time {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
