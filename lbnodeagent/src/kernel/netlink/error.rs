//! Why a request to the kernel failed.

use nix::errno::Errno;
use thiserror::Error;

/// Why a request to the kernel failed.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The kernel refused the request.
    #[error("{what}: {errno}")]
    Refused {
        /// The request.
        what: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// The socket failed, or there was no answer in time.
    #[error("netlink: {0}")]
    Socket(#[from] Errno),
    /// The tables changed during every one of several dumps.
    #[error("netlink: the kernel's tables changed during every dump")]
    Interrupted,
}
