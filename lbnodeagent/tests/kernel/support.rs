//! What the tests share: network namespaces, the command `ip`, and waiting for a condition.

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

/// Runs a test on a thread of its own, in a network namespace of its own. The namespace belongs to the thread, and the
/// processes and threads that it starts inherit it.
pub fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root: cannot make a network namespace");
        ip("link set lo up");
        // Dropped after the runtime, and so after the agents.
        let _files = AgentFiles::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The directory for the files of the agents of this thread's test.
pub fn run_dir() -> PathBuf {
    let (process, thread) = (std::process::id(), std::thread::current().id());
    std::env::temp_dir().join(format!("lbnodeagent-{process}-{thread:?}"))
}

/// Whether a protocol thread of an agent runs in this network namespace. It ends some time after its agent and may
/// write until then.
pub fn agent_thread_is_left() -> bool {
    let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    // Threads end while this is read.
    let is_one = |thread: PathBuf| {
        std::fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim_end() == "ownership")
            && std::fs::read_link(thread.join("ns/net")).is_ok_and(|there| there == here)
    };
    std::fs::read_dir("/proc/self/task").unwrap().flatten().any(|thread| is_one(thread.path()))
}

/// Removes the agents' files after the test, and before it, because an earlier process may have had the same numbers.
struct AgentFiles;

impl AgentFiles {
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
impl Drop for AgentFiles {
    fn drop(&mut self) {
        within(Duration::from_secs(2), || !agent_thread_is_left());
        Self::remove();
    }
}

/// A second network namespace, for the far end of a wire, and a thread in it that runs functions for the test.
pub struct Far {
    /// The thread's id, which names the namespace in commands of `ip`.
    pub thread: i32,
    tasks: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Far {
    pub fn new() -> Self {
        let (tasks, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root: cannot make a network namespace");
            ip("link set lo up");
            sender.send(nix::unistd::gettid().as_raw()).unwrap();
            for task in queue {
                task();
            }
        });
        Self { thread: receiver.recv().expect("the thread of the far end did not start"), tasks }
    }

    /// Runs a function in the namespace and waits for its result.
    pub fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        let task = move || {
            let _ = sender.send(task());
        };
        self.tasks.send(Box::new(task)).expect("the thread of the far end has ended");
        receiver.recv().expect("the function panicked at the far end")
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

/// Adds an interface without hardware: a dummy, or an ifb, which behaves the same, if the kernel has no dummy
/// interfaces. An agent may have created it already.
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

/// Whether a line of `ip` has this lifetime in seconds, `valid` or `preferred`. `ip` shows the remainder, which may be
/// some seconds less on a busy machine.
pub fn lasts(line: &str, which: &str, seconds: u32) -> bool {
    let left = line.split_once(&format!("{which}_lft ")).and_then(|(_, rest)| rest.split_once("sec"));
    let left = left.and_then(|(left, _)| left.parse().ok());
    left.is_some_and(|left| (seconds.saturating_sub(10)..=seconds).contains(&left))
}

/// The addresses of an interface as CIDRs, sorted as text, link-local ones left out.
pub fn cidrs(interface: &str) -> Vec<String> {
    // Not with `ip`: starting a program takes longer than the changes that tests measure with this.
    let observed = Kernel::open().unwrap().dump().unwrap();
    let Some(index) = observed.index_of(interface) else { return Vec::new() };
    let ours = observed.addresses.iter().filter(|(key, found)| key.index == index && found.scope == 0);
    let mut found: Vec<String> = ours.map(|(key, _)| format!("{}/{}", key.ip, key.prefix_len)).collect();
    found.sort();
    found
}

/// What `ip monitor` prints about addresses and routes, which is what a routing daemon receives.
pub struct Monitor(std::process::Child, PathBuf);

/// The beginning of the addresses that mark a position in the output of a [`Monitor`]. Agents ignore link-local ones.
const MARK: &str = "fe80::b:";
/// The number of the next mark.
static MARKS: AtomicU16 = AtomicU16::new(0);

impl Monitor {
    pub fn start() -> Self {
        Self::of(&[], &["address", "route"])
    }

    /// Monitors these kinds of objects, with these options of `ip`.
    pub fn of(options: &[&str], objects: &[&str]) -> Self {
        let (process, thread) = (std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(format!("lbnodeagent-monitor-{process}-{thread:?}"));
        let file = std::fs::File::create(&path).unwrap();
        let child =
            Command::new("ip").arg("-o").args(options).arg("monitor").args(objects).stdout(file).spawn().unwrap();
        let monitor = Self(child, path);
        // `ip` first joins the kernel's groups, and then drops notifications while it reads the interfaces.
        let listens = within(PATIENCE, || monitor.reaches_mark(Duration::from_millis(20)));
        assert!(listens, "ip monitor does not print notifications");
        monitor
    }

    /// Adds a mark, and returns whether it appears in the output, so that everything before it has appeared too.
    fn reaches_mark(&self, time: Duration) -> bool {
        let mark = format!("{MARK}{:x}/128", MARKS.fetch_add(1, Ordering::Relaxed));
        ip(&format!("address add {mark} dev lo"));
        within(time, || std::fs::read_to_string(&self.1).unwrap().contains(&mark))
    }

    /// The lines until now.
    pub fn lines_so_far(&self) -> Vec<String> {
        assert!(self.reaches_mark(PATIENCE), "ip monitor has stopped");
        let text = std::fs::read_to_string(&self.1).unwrap();
        let lines = text.lines().filter(|line| !line.contains(MARK));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// The lines until now; ends the monitor.
    pub fn lines(self) -> Vec<String> {
        self.lines_so_far()
    }

    /// The lines about removals; ends the monitor.
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
