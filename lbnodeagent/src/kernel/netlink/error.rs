//! Purpose a request to the kernel failed.

use nix::errno::Errno;
use thiserror::Error;

/// Purpose the kernel did not answer as expected.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The kernel refused.
    #[error("{what}: {errno}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The socket failed or was silent for [`socket::DEADLINE`].
    #[error("netlink: {0}")]
    Socket(#[from] Errno),
    /// The tables changed during each of several dumps.
    #[error("netlink: the kernel's tables changed during every dump")]
    Interrupted,
}
