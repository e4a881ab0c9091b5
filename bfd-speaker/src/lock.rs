//! One process speaks. During an update the next one waits here, and begins when this one has ended.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use crate::log;

/// While the agent has not made the directory, in milliseconds.
const DIRECTORY: u16 = 1000;

/// While another process speaks: a router waits for the next one.
const HELD: u16 = 50;

/// Waits until this process may speak. `None` if a signal comes before.
///
/// # Errors
/// When the file system has no locks.
pub fn wait(directory: &Path, signals: &SignalFd) -> Result<Option<Flock<File>>, std::io::Error> {
    let mut last = String::new();
    loop {
        let (pause, why) = match attempt(directory) {
            Ok(lock) => return Ok(Some(lock)),
            Err(Errno::EAGAIN) => (HELD, "another process speaks; this one goes on when it has ended".to_owned()),
            Err(error) => {
                let directory = directory.display();
                (
                    DIRECTORY,
                    format!(
                        "cannot make the file {directory}/lock: {error}; the node agent makes the directory and shares it by a group"
                    ),
                )
            }
        };
        if why != last {
            log!(Info, "waiting", reason = why.clone());
            last = why;
        }
        let mut descriptors = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if poll(&mut descriptors, PollTimeout::from(pause)).is_ok_and(|ready| ready > 0) {
            return Ok(None);
        }
    }
}

fn attempt(directory: &Path) -> Result<Flock<File>, Errno> {
    let raw = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    // Also one that another user has made: a lock needs no right to write.
    let path = directory.join("lock");
    let file = File::open(&path)
        .or_else(|_| OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(&path));
    Flock::lock(file.map_err(raw)?, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)
}
