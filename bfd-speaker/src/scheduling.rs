//! When the loop gets the processor.
//!
//! A session is lost if the loop does not run for a few intervals. Real-time scheduling (`SCHED_FIFO`, lowest priority)
//! excludes that on a busy node, but needs `CAP_SYS_NICE` or `RLIMIT_RTPRIO`, as a negative nice value does, which a pod
//! that is not root cannot have. There the share that the pod's CPU request buys decides; a loop that needs a thousandth
//! of a processor runs within some milliseconds of its deadline, because it is always far below its share.

use std::io::Error;

use nix::libc;

/// Well before ordinary work, behind the kernel's own.
const NICE: libc::c_int = -15;

/// What the kernel granted to the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Real time.
    Fifo,
    /// A negative nice value.
    Nice,
    /// Nothing.
    Normal,
}

impl Class {
    /// As the report has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Nice => "nice",
            Self::Normal => "normal",
        }
    }
}

/// Asks for the best class for the calling thread.
pub fn raise() -> Class {
    if fifo().is_ok() {
        Class::Fifo
    } else if nice().is_ok() {
        Class::Nice
    } else {
        Class::Normal
    }
}

fn fifo() -> Result<(), Error> {
    let parameter = libc::sched_param { sched_priority: 1 };
    #[allow(unsafe_code, reason = "the pointer is to a live sched_param, which the kernel reads")]
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameter) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

fn nice() -> Result<(), Error> {
    #[allow(unsafe_code, reason = "the function takes no pointers")]
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
