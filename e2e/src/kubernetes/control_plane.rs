//! The control plane: its API server can be frozen and thawed.

use std::ops::Deref;

use nix::sys::signal::Signal;

use crate::{
    base::error::Result,
    hosts::host::Host,
    topology::{host_id::HostId, layout::Layout},
};

/// The control plane of a cluster. It is a [`Host`] whose API server can be frozen.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    host: Host,
}

impl Deref for ControlPlane {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl ControlPlane {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { host: Host::new(layout, HostId::Control) }
    }

    /// Freezes the API server: connections stay open, and nothing is answered.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause_api(&self) -> Result<()> {
        self.kill(self.service_pid("kube-apiserver")?, Signal::SIGSTOP)
    }

    /// Undoes [`Self::pause_api`]. A running API server stays as it is.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume_api(&self) -> Result<()> {
        self.kill(self.service_pid("kube-apiserver")?, Signal::SIGCONT)
    }

    /// Ends the API server at once; it is started again a second later.
    ///
    /// # Errors
    /// It does not run.
    pub fn crash_api(&self) -> Result<()> {
        self.kill(self.service_pid("kube-apiserver")?, Signal::SIGKILL)
    }
}
