//! Namespaces, programs in them, and waiting.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A network namespace: a thread that does there what it is asked to.
pub struct Namespace {
    thread: i32,
    orders: mpsc::Sender<Box<dyn FnOnce() + Send>>,
}

impl Namespace {
    pub fn new() -> Self {
        let (orders, ordered) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root: cannot make a network namespace");
            send.send(nix::unistd::gettid().as_raw()).unwrap();
            for order in ordered {
                order();
            }
        });
        let namespace = Self { thread: receive.recv().expect("no namespace"), orders };
        namespace.ip("link set lo up");
        namespace
    }

    /// Does something there and waits for the result.
    pub fn run<T: Send + 'static>(&self, order: impl FnOnce() -> T + Send + 'static) -> T {
        let (send, receive) = mpsc::channel();
        let order = move || drop(send.send(order()));
        self.orders.send(Box::new(order)).expect("the namespace is gone");
        receive.recv().expect("the order failed")
    }

    /// Runs a command there; it must succeed.
    pub fn command(&self, command: &str) -> String {
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let output = self.run(move || Command::new(&words[0]).args(&words[1..]).output());
        let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{command}: {text}");
        text
    }

    pub fn ip(&self, arguments: &str) -> String {
        self.command(&format!("ip {arguments}"))
    }

    /// A cable to another namespace.
    pub fn cable(&self, interface: &str, other: &Self, others: &str) {
        self.ip(&format!("link add {interface} type veth peer name {others} netns {}", other.thread));
        self.ip(&format!("link set {interface} up"));
        other.ip(&format!("link set {others} up"));
    }

    /// Loses so many percent of what arrives; 100 cuts it off.
    pub fn lose(&self, percent: u32) {
        self.mend();
        self.command("nft add table inet faults");
        self.command("nft add chain inet faults input { type filter hook input priority 0 ; }");
        let which = if percent < 100 { format!("numgen random mod 100 < {percent}") } else { String::new() };
        self.command(&format!("nft add rule inet faults input {which} drop"));
    }

    /// Loses nothing any more.
    pub fn mend(&self) {
        self.command("nft add table inet faults");
        self.command("nft delete table inet faults");
    }

    /// Starts a program there. What it writes goes to a file.
    pub fn start(&self, mut command: Command, output: &Path) -> Program {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(output).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Program(self.run(move || command.spawn()).expect("the program does not start"))
    }
}

/// A command that ends with the thread that starts it, also when the test is killed.
pub fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A running program, which is killed when this is dropped.
pub struct Program(Child);

impl Program {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), signal).unwrap();
    }

    /// Ends it in good order, and returns how long that took.
    pub fn stop(self) -> Duration {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits until it has ended in good order, and returns how long that took.
    pub fn wait(mut self) -> Duration {
        let start = Instant::now();
        assert!(self.0.wait().unwrap().success());
        start.elapsed()
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory of the test, which is removed with it.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("bfd-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until something holds and returns how long that took.
pub fn until(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < patience, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
