//! Calls to the kernel from an asynchronous program, and the state that follows from them.

use nix::errno::Errno;
use runtime::BootTime;
use tokio::task::{JoinError, JoinHandle};

use crate::kernel::netlink::error::KernelError;
use crate::kernel::netlink::monitor::Monitor;
use crate::kernel::netlink::requests::Kernel;
use crate::kernel::observer::Observer;
use crate::model::observed::{Affected, Observed};

/// A call to the kernel, on a thread of its own.
type Running<T> = JoinHandle<(Kernel, Result<T, KernelError>)>;

/// This host's kernel as the agent uses it.
#[derive(Debug)]
pub struct Host {
    /// Absent only while a thread uses it, or after it failed.
    kernel: Option<Kernel>,
    observer: Observer,
    compared: BootTime,
}

impl Host {
    /// Opens the sockets and reads what the kernel has; needs a tokio runtime.
    ///
    /// # Errors
    /// When the kernel refuses, most likely for want of `CAP_NET_ADMIN`.
    pub fn open() -> Result<Self, KernelError> {
        // Listen first, or what changes between the two would be missed.
        let monitor = Monitor::open()?;
        let mut kernel = Kernel::open()?;
        let observer = Observer::new(monitor, kernel.dump()?);
        Ok(Self { kernel: Some(kernel), observer, compared: BootTime::now() })
    }

    /// The kernel's state as last heard.
    #[must_use]
    pub const fn observed(&self) -> &Observed {
        self.observer.observed()
    }

    /// For what is known without a notification.
    pub const fn observed_mut(&mut self) -> &mut Observed {
        self.observer.observed_mut()
    }

    /// Whether the observed state may differ from the kernel's.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        self.observer.is_stale()
    }

    /// When the kernel was last read, or was to be.
    #[must_use]
    pub const fn compared(&self) -> BootTime {
        self.compared
    }

    /// Waits until there may be notifications; [`Self::listen`] must follow.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub async fn wait(&self) -> std::io::Result<()> {
        self.observer.wait().await
    }

    /// Applies the notifications that have come.
    pub fn listen(&mut self) -> Affected {
        let mut affected = Affected::default();
        for change in self.observer.changes() {
            affected.extend(self.observer.apply(change));
        }
        affected
    }

    /// Reads everything from the kernel and compares it with the observed state.
    pub async fn compare(&mut self) -> Affected {
        self.compared = BootTime::now();
        self.observer.prepare_dump();
        let dump = self.call(Kernel::dump).await;
        self.observer.compare(dump).unwrap_or_default()
    }

    /// Runs a call on a thread where it may block.
    ///
    /// # Errors
    /// Those of the call, and when no socket to the kernel can be opened.
    pub async fn call<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Kernel) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        let outcome = self.begin(call)?.await;
        self.end(outcome)
    }

    /// Runs a call that changes much, and applies the notifications that come meanwhile and at its end, so that the
    /// observed state shows the outcome. Also returns what they affect.
    ///
    /// If the observed state is stale then, it is to be compared only now: tables that change cannot be dumped.
    pub async fn call_and_listen<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Kernel) -> Result<T, KernelError> + Send + 'static,
    ) -> (Result<T, KernelError>, Affected) {
        let mut affected = Affected::default();
        let mut running = match self.begin(call) {
            Ok(running) => running,
            Err(error) => return (Err(error), affected),
        };
        let outcome = loop {
            tokio::select! {
                outcome = &mut running => break outcome,
                _ = self.observer.wait() => affected.extend(self.listen()),
            }
        };
        let result = self.end(outcome);
        affected.extend(self.listen());
        (result, affected)
    }

    fn begin<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Kernel) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<Running<T>, KernelError> {
        let mut kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => Kernel::open()?,
        };
        // The socket has a deadline of its own.
        Ok(tokio::task::spawn_blocking(move || {
            let result = call(&mut kernel);
            (kernel, result)
        }))
    }

    fn end<T>(&mut self, outcome: Result<(Kernel, Result<T, KernelError>), JoinError>) -> Result<T, KernelError> {
        let (kernel, result) = outcome.map_err(|_| KernelError::Socket(Errno::ECANCELED))?;
        // After a failure of the socket nobody knows which answers are still to come.
        if !matches!(result, Err(KernelError::Socket(_))) {
            self.kernel = Some(kernel);
        }
        result
    }
}
