//! `nf_tables` as the agent uses it: calls from an asynchronous program, and changes of the rules.

use nix::errno::Errno;

use crate::kernel::netlink::error::KernelError;
use crate::kernel::nftables::monitor::Monitor;
use crate::kernel::nftables::requests::Nftables;

/// The kernel's packet filter.
#[derive(Debug)]
pub struct PacketFilter {
    /// Absent before the first call, while a thread uses it, and after it failed.
    nftables: Option<Nftables>,
    /// Absent on a kernel without netfilter.
    monitor: Option<Monitor>,
}

impl PacketFilter {
    /// Listens for changes of the rules; needs a tokio runtime.
    #[must_use]
    pub fn open() -> Self {
        let monitor = Monitor::open();
        if let Err(error) = &monitor {
            tracing::debug!(op = "nftables", %error, "changes of rules are not noticed");
        }
        Self { nftables: None, monitor: monitor.ok() }
    }

    /// Waits until the rules may have changed; [`Self::drain`] must follow.
    pub async fn changed(&self) {
        let waited = match &self.monitor {
            Some(monitor) => monitor.wait().await,
            None => return std::future::pending().await,
        };
        if waited.is_err() {
            // The runtime shuts down.
            std::future::pending::<()>().await;
        }
    }

    /// Drops the notifications that have come. What is read now contains their changes.
    pub fn drain(&mut self) {
        if let Some(monitor) = &mut self.monitor {
            monitor.drain();
        }
    }

    /// Runs a call on a thread where it may block: a batch waits for those of others.
    ///
    /// # Errors
    /// Those of the call, and when no socket can be opened.
    pub async fn call<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Nftables) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        let mut nftables = match self.nftables.take() {
            Some(nftables) => nftables,
            None => Nftables::open()?,
        };
        let running = tokio::task::spawn_blocking(move || {
            let result = call(&mut nftables);
            (nftables, result)
        });
        let (nftables, result) = running.await.map_err(|_| KernelError::Socket(Errno::ECANCELED))?;
        // After a failure of the socket nobody knows which answers are still to come.
        if !matches!(result, Err(KernelError::Socket(_))) {
            self.nftables = Some(nftables);
        }
        result
    }
}
