//! The signals that stop the program gracefully.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Task;

/// Waits for a signal that asks the program to stop.
#[derive(Debug)]
pub struct Stop {
    token: CancellationToken,
    _listener: Task,
}

impl Stop {
    /// A token that the first of the signals INT, QUIT and TERM cancels.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}

/// Starts to listen for INT, QUIT and TERM. Dropping the result ends that.
///
/// # Errors
/// The signals cannot be caught.
pub fn stop() -> io::Result<Stop> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    let listener = Task::spawn(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "INT",
            _ = quit.recv() => "QUIT",
            _ = terminate.recv() => "TERM",
        };
        tracing::info!(op = "stop", signal = name, "received a signal to stop");
        cancel.cancel();
    });
    Ok(Stop { token, _listener: listener })
}
