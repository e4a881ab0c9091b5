//! Hearing, comparing and calling the kernel.

use std::net::IpAddr;

use api_types::Family;
use nix::errno::Errno;
use runtime::BootTime;
use tokio::task::{JoinError, JoinHandle};

use super::{Agent, Status};
use crate::decide::reason::Reason;
use crate::kernel::marks::marks_addresses;
use crate::kernel::netlink::error::KernelError;
use crate::kernel::netlink::monitor::Notifications;
use crate::kernel::netlink::requests::Kernel;
use crate::model::address::{AddressKey, KernelAddress, MARK};
use crate::model::link::DefaultRoute;
use crate::model::observed::{Affected, Change};

/// A call to the kernel, on a thread of its own.
type Running<T> = JoinHandle<(Kernel, Result<T, KernelError>)>;

impl Agent {
    /// Takes over what the kernel reports, and reads everything where that is not enough.
    pub(super) async fn hear(&mut self) {
        let before = self.stale;
        self.listen();
        // Otherwise it has just failed.
        if self.stale && !before {
            self.compare().await;
        }
    }

    /// Takes over what the kernel reports.
    fn listen(&mut self) {
        let Notifications { changes, lost } = self.monitor.hear();
        self.stale |= lost;
        for change in changes {
            // Of several IPv6 routes with the same metric the kernel replaces one, and does not say which.
            self.stale |= matches!(change, Change::Replacement(DefaultRoute { family: Family::V6, .. }));
            let changes = self.observed.apply(change);
            self.concerns(&changes);
        }
        if lost {
            tracing::warn!(op = "netlink", "notifications were lost: reading everything anew");
        }
    }

    /// Notes what a change in the kernel may concern.
    fn concerns(&mut self, changes: &Affected) {
        self.interfaces_changed |= changes.links || changes.routes;
        for ip in &changes.addresses {
            // Of other people's addresses only those matter that make a host part of a network.
            let own = self.is_own(*ip) && !self.is_taken(*ip);
            let link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            self.interfaces_changed |= !own && !link_local;
        }
        // An address of ours may be reported when its Service is gone already.
        let plan = self.plan(BootTime::now());
        let ours = |ip: IpAddr| self.observed.of(ip).any(|(key, found)| plan.is_ours(key, found));
        let concerned = changes.addresses.iter().filter(|ip| self.status.contains_key(*ip) || ours(**ip));
        let concerned: Vec<IpAddr> = concerned.copied().collect();
        self.cluster.mark(concerned);
    }

    /// Whether the address is, or may become, one that we put somewhere.
    fn is_own(&self, ip: IpAddr) -> bool {
        let placed = self.status.get(&ip).is_some_and(|status| status.placed.is_some());
        placed || self.desired.contains_key(&ip) || self.local.candidacies.contains_key(&ip)
    }

    /// Whether somebody else has one of the Services' addresses on an interface for local ones, or the address was
    /// refused, as it is then.
    fn is_taken(&self, ip: IpAddr) -> bool {
        let refused = |status: &Status| matches!(status.decision.reason, Reason::Refused(_));
        // Where the kernel cannot mark an address, it is ours from the moment on in which the protocol may put it there.
        let placed = |key: &AddressKey| {
            !marks_addresses() && self.local.candidacies.get(&ip).is_some_and(|wanted| wanted.placement.key == *key)
        };
        let foreign = |key: &AddressKey, found: &KernelAddress| {
            let ours = found.mark == Some(MARK) || self.record.keys().contains(key) || placed(key);
            self.selection.has(key.index) && !ours
        };
        self.status.get(&ip).is_some_and(refused) || self.observed.of(ip).any(|(key, found)| foreign(key, found))
    }

    /// Reads everything from the kernel and compares it with what we believed.
    pub(super) async fn compare(&mut self) {
        self.compared = BootTime::now();
        // Everything that is announced before the dump is in it.
        let _announced = self.monitor.hear();
        match self.with_kernel(Kernel::dump).await {
            Ok(observed) => {
                self.stale = false;
                let differences = self.observed.differences(&observed);
                self.observed = observed;
                if !differences.is_empty() {
                    self.concerns(&differences);
                }
            }
            Err(error) => {
                tracing::warn!(op = "netlink", %error, "cannot read the kernel's tables");
                // What was announced before is lost.
                self.stale = true;
                self.observed.expect_nothing();
            }
        }
        // Lifetimes run down without notice, and what never came cannot be missed.
        let due = self.desired.iter().filter(|(_, placement)| {
            placement.attributes.valid_lifetime.is_some() || !self.observed.addresses.contains_key(&placement.key)
        });
        let due: Vec<IpAddr> = due.map(|(ip, _)| *ip).collect();
        self.cluster.mark(due);
        runtime::memory::trim();
    }

    /// Runs a call to the kernel on a thread where it may block.
    pub(super) async fn with_kernel<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Kernel) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        let outcome = self.begin(call)?.await;
        self.end(outcome)
    }

    /// Runs a call that changes much, and hears what comes of it meanwhile and at its end: the outcome is judged by what
    /// the kernel has. It is looked at again in the next pass, because it need not be our own doing. Everything is read
    /// only when the call is done: tables that change cannot be.
    pub(super) async fn with_kernel_and_ears<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Kernel) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, KernelError> {
        let mut running = self.begin(call)?;
        let outcome = loop {
            tokio::select! {
                outcome = &mut running => break outcome,
                _ = self.monitor.wait() => self.listen(),
            }
        };
        let result = self.end(outcome);
        self.listen();
        if self.stale {
            self.compare().await;
        }
        result
    }

    fn begin<T: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut Kernel) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<Running<T>, KernelError> {
        let mut kernel = match self.kernel.take() {
            Some(kernel) => kernel,
            None => Kernel::open()?,
        };
        // The socket has its own deadline.
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
