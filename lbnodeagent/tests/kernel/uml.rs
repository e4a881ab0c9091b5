//! A kernel of its own for a test: user-mode Linux, a kernel that is an ordinary program.
//!
//! For what the machine's kernel may lack or does differently. The guest's root is the machine's, read-only, and its
//! first process is this test program again, which runs the same test there.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// The kernel, and where its modules are; Debian's package installs both.
const KERNEL: &str = "/usr/bin/linux.uml";
const MODULES: &str = "/usr/lib/uml/modules";
/// How many seconds the guest may live, from its start to its end.
const LIMIT: &str = "60";
/// The variable by which the test knows where it is: the kernel hands what it does not understand on to the guest.
const INSIDE: &str = "LBNODEAGENT_TEST_GUEST";
/// The guest's only writable directory.
const RUN: &str = "/run";
/// What the guest's kernel calls when it lacks a module.
const LOADER: &str = "/run/modprobe";
/// By this setting of the guest.
const LOADER_SETTING: &str = "/proc/sys/kernel/modprobe";

/// A part of a test in the guest.
pub type Part = (&'static str, fn());

/// Whether this is the guest's first process. A variable alone would not do: it ends by shutting down.
fn inside() -> bool {
    std::process::id() == 1 && std::env::var_os(INSIDE).is_some()
}

/// Runs the parts of a test, each of which must succeed, in a guest. To be called by the test of that name, on the
/// machine and in the guest.
pub fn in_guest(test: &str, parts: &[Part]) {
    if inside() {
        run(parts);
    }
    let start = Instant::now();
    let (ended, console) = boot(test);
    // Shown if the test fails, or if somebody wants to see it.
    eprintln!("{console}\nthe guest ended after {:?}: {ended}", start.elapsed());
    for (name, _) in parts {
        // The test harness may have begun the line.
        let passed = console.lines().any(|line| line.trim_end().ends_with(&passed(name)));
        assert!(passed, "failed in the guest, or not reached within {LIMIT} s: {name}");
    }
    assert!(ended.success(), "the guest's kernel: {ended}");
}

fn passed(name: &str) -> String {
    format!("passed: {name}")
}

/// Starts the guest, with this test as its first process, and waits for its end; returns all that it said, too.
fn boot(test: &str) -> (ExitStatus, String) {
    assert!(
        Path::new(KERNEL).exists() && Path::new(MODULES).exists(),
        "{KERNEL} or {MODULES} is missing: run e2e/prepare.sh, or install the Debian package user-mode-linux"
    );
    // What the kernel keeps while it runs. One that was killed may have left it.
    let directory = std::env::temp_dir().join(format!("lbnodeagent-uml-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).unwrap();
    // The kernel has a process for each address space of the guest, and killed by itself it would leave them behind.
    // In a process namespace they end with `timeout`, that with `unshare`, and that with this thread.
    let output = Command::new("setpriv")
        .args(["--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child", "timeout", "--signal=KILL", LIMIT])
        .args([KERNEL, "umid=guest", &format!("uml_dir={}", directory.display())])
        .args(["mem=256M", "quiet", "con=null", "con0=null,fd:1", "console=tty0"])
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
        .args([&format!("{INSIDE}=1"), &format!("TMPDIR={RUN}"), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
        .arg(format!("init={}", std::env::current_exe().unwrap().display()))
        .args(["--", "--exact", test, "--nocapture"])
        .output();
    std::fs::remove_dir_all(&directory).unwrap();
    let output = output.expect("cannot start setpriv");
    (output.status, String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned())
}

/// What the first process of the guest does.
fn run(parts: &[Part]) -> ! {
    set_up();
    for (name, part) in parts {
        let start = Instant::now();
        let verdict = match catch_unwind(AssertUnwindSafe(part)) {
            Ok(()) => passed(name),
            Err(_) => format!("FAILED: {name}"),
        };
        eprintln!("{verdict}\n  after {:?}", start.elapsed());
    }
    let Err(errno) = reboot(RebootMode::RB_POWER_OFF);
    panic!("cannot shut down: {errno}");
}

fn set_up() {
    // In this order: until the guest has its own, /proc is the machine's.
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", RUN)] {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>).unwrap();
    }
    // modprobe looks for modules in lib/modules of the directory that it is told.
    std::fs::create_dir(format!("{RUN}/lib")).unwrap();
    symlink(MODULES, format!("{RUN}/lib/modules")).unwrap();
    let mut loader = std::fs::File::create(LOADER).unwrap();
    writeln!(loader, "#!/bin/sh\nexec /sbin/modprobe --dirname {RUN} \"$@\"").unwrap();
    loader.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    load_on_demand(true);
}

/// In the guest: whether the kernel loads modules that it needs, as kernels do that have them.
pub fn load_on_demand(yes: bool) {
    std::fs::write(LOADER_SETTING, if yes { LOADER } else { "\n" }).unwrap();
}

/// In the guest: loads modules.
pub fn load(modules: &[&str]) {
    let status = Command::new(LOADER).arg("--all").args(modules).status().unwrap();
    assert!(status.success(), "cannot load {modules:?}: {status}");
}
