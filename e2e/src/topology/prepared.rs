//! Where the programs and images are that `prepare.sh` and cargo have built.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

use crate::base::error::{Error, Result};

/// The directory that `prepare.sh` fills.
fn cache() -> PathBuf {
    let directory = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    directory("PURELB_CACHE").unwrap_or_else(|| {
        directory("XDG_CACHE_HOME")
            .unwrap_or_else(|| directory("HOME").unwrap_or_else(|| "/".into()).join(".cache"))
            .join("purelb")
    })
}

/// The directory of the Kubernetes and containerd programs.
///
/// # Errors
/// [`Error::NotPrepared`] when one of them is not there.
pub(crate) fn programs() -> Result<PathBuf> {
    let directory = cache().join("bin");
    for program in ["k8s", "containerd", "containerd-shim-runc-v2", "ctr"] {
        present(&directory.join(program))?;
    }
    Ok(directory)
}

/// The images every node gets.
///
/// # Errors
/// [`Error::NotPrepared`] when one of them is not there.
pub(crate) fn images() -> Result<Vec<PathBuf>> {
    let images = ["pause", "echo"].map(|name| cache().join("images").join(format!("{name}.tar")));
    images.iter().try_for_each(|image| present(image))?;
    Ok(images.into())
}

/// # Errors
/// [`Error::NotPrepared`] when `path` does not exist.
fn present(path: &Path) -> Result<()> {
    if path.exists() { Ok(()) } else { Err(Error::NotPrepared(path.to_owned())) }
}

/// The `lab` program, which the hosts of a cluster run as their first process.
///
/// # Errors
/// This process is not `lab`, and cargo has not built it beside the running test.
pub(crate) fn lab() -> Result<PathBuf> {
    let this = env::current_exe().unwrap_or_default();
    let name = this.file_name().and_then(OsStr::to_str).unwrap_or_default();
    if name == "lab" || name == "lab (deleted)" {
        // Works also when a later build has replaced the file.
        return Ok("/proc/self/exe".into());
    }
    let named_by_test_runner = ["NEXTEST_BIN_EXE_lab", "CARGO_BIN_EXE_lab"].into_iter().find_map(env::var_os);
    // Tests are one directory below the programs.
    let beside = this.ancestors().skip(1).take(2).map(|directory| directory.join("lab"));
    let mut candidates = named_by_test_runner.map(PathBuf::from).into_iter().chain(beside);
    candidates
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::Refused("the program `lab` is not built: run `cargo build -p e2e`".into()))
}
