//! Ends what hosts have left behind: their processes and the names of their network namespaces.

use std::{fs, path::Path, process::Command, time::Duration};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::base::{
    command,
    error::{Doing, Result, unexpected},
    processes,
    wait::eventually_blocking,
};

/// The inits of all hosts whose directory is below `hosts`, and holders that have not ended yet.
pub(crate) fn inits_below(hosts: &Path) -> Vec<i32> {
    let prefix = format!("{}/", hosts.display());
    processes::all()
        .into_iter()
        .filter(|pid| {
            let arguments = processes::arguments(*pid);
            let mut words = arguments.iter().skip(1);
            matches!(words.next().map(String::as_str), Some("init" | "holder"))
                && words.next().is_some_and(|spec| spec.starts_with(&prefix))
        })
        .collect()
}

/// Kills processes and waits until they are gone.
pub(crate) fn end(pids: &[i32]) -> Result<()> {
    for pid in pids {
        // What has ended by itself is fine.
        let _ = signal::kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
    // An init ends after all other processes of its host.
    eventually_blocking(Duration::from_secs(20), "end of a host's processes", || {
        let left: Vec<_> = pids.iter().filter(|pid| processes::alive(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("processes {left:?}")) }
    })
}

/// Removes the name of a network namespace; the namespace itself goes with its last process.
pub(crate) fn remove_namespace(name: &str) -> Result<()> {
    if fs::exists(format!("/run/netns/{name}")).unwrap_or(false) {
        command::run(Command::new("ip").args(["netns", "delete", name]))?;
    }
    Ok(())
}

/// The names of the network namespaces that begin with `prefix`.
pub(crate) fn namespaces(prefix: &str) -> Result<Vec<String>> {
    let listing = match fs::read_dir("/run/netns") {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).doing(|| "list /run/netns".into()),
    };
    listing
        .map(|entry| {
            let name = entry.doing(|| "list /run/netns".into())?.file_name();
            name.into_string().map_err(|name| unexpected("/run/netns", name.display()))
        })
        .filter(|name| !name.as_ref().is_ok_and(|name| !name.starts_with(prefix)))
        .collect()
}
