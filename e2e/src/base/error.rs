//! What can go wrong in the lab. The messages let the reader of a failed test know where to look.

use std::{io, path::PathBuf, time::Duration};

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure of the lab itself or of a program it ran.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program ended with a failure.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status or signal.
        status: String,
        /// What it wrote to standard error, trimmed.
        stderr: String,
    },
    /// The kernel or the file system refused something.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried; it follows "cannot" in the message.
        what: String,
        /// The refusal.
        source: io::Error,
    },
    /// A condition did not come true in time.
    #[error("{what}: not within {deadline:?}; last seen: {last}")]
    Deadline {
        /// The condition waited for.
        what: String,
        /// How long was waited.
        deadline: Duration,
        /// The state at the last look.
        last: String,
    },
    /// A program printed, or a file holds, something unexpected.
    #[error("cannot make sense of {what}: {problem}")]
    Unexpected {
        /// Where it came from.
        what: String,
        /// What was wrong with it.
        problem: String,
    },
    /// The cluster, or one host of it, is not there.
    #[error(
        "{what} is not running; `lab up --name {cluster}` starts the cluster, `lab status --name {cluster}` shows it"
    )]
    NotRunning {
        /// The cluster or host.
        what: String,
        /// The cluster's name.
        cluster: String,
    },
    /// A cluster of this name exists already.
    #[error("a cluster named {0} is running already; `lab down --name {0}` ends it")]
    RunningAlready(String),
    /// The machine lacks something that `e2e/prepare.sh` would have made.
    #[error("{} is missing: run e2e/prepare.sh once", .0.display())]
    NotPrepared(PathBuf),
    /// A name or number that the lab cannot take.
    #[error("{0}")]
    Refused(String),
    /// A cluster could not be started.
    #[error("starting cluster {cluster}: {source}; its logs are in {}", .logs.display())]
    Start {
        /// The cluster's name.
        cluster: String,
        /// Where each host has a directory with logs, until the next start.
        logs: PathBuf,
        /// What went wrong first.
        source: Box<Error>,
    },
    /// The Kubernetes client failed.
    #[error("Kubernetes client: {0}")]
    Kube(Box<kube::Error>),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

/// Adds to an operating system error what was being done.
pub(crate) trait Doing<T> {
    /// `what` follows the word "cannot" in the message.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::System { what: what(), source: source.into() })
    }
}

/// For [`Error::Unexpected`]: `what` names the source of the text that could not be understood.
pub(crate) fn unexpected(what: impl Into<String>, problem: impl std::fmt::Display) -> Error {
    Error::Unexpected { what: what.into(), problem: format!("{problem}") }
}
