//! The thread on which the protocol for local addresses runs.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::local::driver;
use crate::local::messages::{Command, Start, Update};
use crate::report::metrics::Metrics;
use crate::report::state::ProtocolState;

/// How long the thread may take to end.
const END: Duration = Duration::from_secs(2);

/// The running thread. It ends when this is dropped.
#[derive(Debug)]
pub struct ProtocolThread {
    commands: mpsc::UnboundedSender<Command>,
}

impl ProtocolThread {
    /// Starts the thread, in the network namespace of this one.
    ///
    /// # Errors
    /// When the system has no more threads.
    pub fn start(start: Start, metrics: Metrics, updates: mpsc::UnboundedSender<Update>) -> std::io::Result<Self> {
        let (commands, received) = mpsc::unbounded_channel();
        let run = move || driver::run(start, metrics, received, updates);
        std::thread::Builder::new().name("ownership".to_owned()).spawn(run)?;
        Ok(Self { commands })
    }

    /// Sends a command; returns whether the thread still runs.
    #[must_use]
    pub fn send(&self, command: Command) -> bool {
        self.commands.send(command).is_ok()
    }

    /// Asks for the protocol's state.
    #[must_use]
    pub fn state(&self) -> oneshot::Receiver<ProtocolState> {
        let (sender, receiver) = oneshot::channel();
        // If the thread has ended, the receiver notices.
        let _ended = self.send(Command::State(sender));
        receiver
    }

    /// Ends the protocol and returns when it has ended. `Leaving` waits until everything is handed over, for at
    /// most `limit`.
    pub async fn stop(self, stop: ownership::Stop, limit: Duration) {
        let (sender, mut receiver) = oneshot::channel();
        if !self.send(Command::Stop(stop, sender)) {
            return;
        }
        if tokio::time::timeout(limit, &mut receiver).await.is_err() {
            tracing::warn!(op = "stop", "not every local address could be handed over");
            // This ends the thread at once.
            drop(self);
            if tokio::time::timeout(END, receiver).await.is_err() {
                tracing::error!(op = "stop", "the protocol for local addresses does not end");
            }
        }
    }
}
