//! A kernel of its own for a test: user-mode Linux, a kernel that is an ordinary program.
//!
//! It is for features that the machine's kernel may lack or have in another form. The guest's root directory is that of
//! the machine, read-only. The guest's first process is this test program, which runs the same test there.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Instant;

use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// The kernel and the directory of its modules, both from Debian's package.
const KERNEL: &str = "/usr/bin/linux.uml";
const MODULES: &str = "/usr/lib/uml/modules";
/// How many seconds the guest may live, from its start to its end.
const LIMIT: &str = "60";
/// The variable that is set in the guest: the kernel passes parameters that it does not know to the first process.
const INSIDE: &str = "LBNODEAGENT_TEST_GUEST";
/// The guest's only writable directory.
const RUN: &str = "/run";
/// The program that the guest's kernel runs to load a module.
const LOADER: &str = "/run/modprobe";
/// The setting of the guest's kernel that names it.
const LOADER_SETTING: &str = "/proc/sys/kernel/modprobe";

/// A part of a test in the guest.
pub type Part = (&'static str, fn());

/// Whether this is the guest's first process. The variable alone is not enough, because the process shuts down the
/// system at its end.
fn inside() -> bool {
    std::process::id() == 1 && std::env::var_os(INSIDE).is_some()
}

/// Runs the parts of a test in a guest; each must succeed. The test of this name calls it on the machine, and again in
/// the guest.
pub fn in_guest(test: &str, parts: &[Part]) {
    if inside() {
        run(parts);
    }
    let start = Instant::now();
    let (ended, console) = boot(test);
    // The test runner shows it if the test fails.
    eprintln!("{console}\nthe guest ended after {:?}: {ended}", start.elapsed());
    for (name, _) in parts {
        // The line may begin with output of the test harness.
        let passed = console.lines().any(|line| line.trim_end().ends_with(&passed(name)));
        assert!(passed, "failed in the guest, or not reached within {LIMIT} s: {name}");
    }
    assert!(ended.success(), "the guest's kernel: {ended}");
}

fn passed(name: &str) -> String {
    format!("passed: {name}")
}

/// Starts the guest with this test as its first process, and waits for its end. Returns the output as well.
fn boot(test: &str) -> (ExitStatus, String) {
    assert!(
        Path::new(KERNEL).exists() && Path::new(MODULES).exists(),
        "{KERNEL} or {MODULES} is missing: run e2e/prepare.sh, or install the Debian package user-mode-linux"
    );
    // The kernel's files while it runs. A guest that was killed may have left them.
    let directory = std::env::temp_dir().join(format!("lbnodeagent-uml-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir(&directory).unwrap();
    // The kernel has a process for each address space of the guest, and they survive if only the kernel is killed. In a
    // PID namespace they end together with `timeout`, `timeout` with `unshare`, and `unshare` with this thread.
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
        let result = match catch_unwind(AssertUnwindSafe(part)) {
            Ok(()) => passed(name),
            Err(_) => format!("FAILED: {name}"),
        };
        eprintln!("{result}\n  after {:?}", start.elapsed());
    }
    let Err(errno) = reboot(RebootMode::RB_POWER_OFF);
    panic!("cannot shut down: {errno}");
}

fn set_up() {
    // The order matters: /proc is the machine's until it is mounted.
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", RUN)] {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>).unwrap();
    }
    // modprobe looks for modules in lib/modules below its --dirname.
    std::fs::create_dir(format!("{RUN}/lib")).unwrap();
    symlink(MODULES, format!("{RUN}/lib/modules")).unwrap();
    let mut loader = std::fs::File::create(LOADER).unwrap();
    writeln!(loader, "#!/bin/sh\nexec /sbin/modprobe --dirname {RUN} \"$@\"").unwrap();
    loader.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    load_on_demand(true);
}

/// In the guest: sets whether the kernel loads a module when it needs one.
pub fn load_on_demand(yes: bool) {
    std::fs::write(LOADER_SETTING, if yes { LOADER } else { "\n" }).unwrap();
}

/// In the guest: loads modules.
pub fn load(modules: &[&str]) {
    let status = Command::new(LOADER).arg("--all").args(modules).status().unwrap();
    assert!(status.success(), "cannot load {modules:?}: {status}");
}
