//! A host whose processors are all taken.

use std::{
    os::unix::process::CommandExt as _,
    process::{Child, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use crate::{
    base::error::{Doing, Result},
    hosts::host::Host,
};

/// Like a compilation: it computes, starts processes all the time, and never sleeps.
const WORK: &str = "while :; do head -c 4000000 /dev/zero | gzip -9 | sha256sum; done >/dev/null 2>&1";

/// Processes that take all processor time they get, until this value is dropped.
#[derive(Debug)]
#[must_use = "the host is idle again when this is dropped"]
pub struct Busy(Vec<Child>);

impl Host {
    /// Begins so many pieces of work that never end, with the ordinary priority. They belong to the host and to none of
    /// its pods, as a compilation by hand would.
    ///
    /// # Errors
    /// The host is off.
    pub fn busy(&self, pieces: usize) -> Result<Busy> {
        let mut busy = Busy(Vec::new());
        for _ in 0..pieces {
            let mut command = self.command(&["sh", "-c", WORK])?;
            command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            busy.0.push(command.spawn().doing(|| format!("keep {} busy", self.id))?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // With all that it has started.
            if let Ok(group) = i32::try_from(child.id()) {
                let _gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ended = child.wait();
        }
    }
}
