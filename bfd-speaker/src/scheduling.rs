//! When the loop gets the processor.
//!
//! A session is lost if the loop does not run for a few intervals. Real-time scheduling (`SCHED_FIFO`, lowest priority)
//! excludes that on a busy node, but needs `CAP_SYS_NICE` or `RLIMIT_RTPRIO`, as a negative nice value does, which a pod
//! that is not root cannot have. There the share that the pod's CPU request buys decides. The loop needs a thousandth of a
//! processor, far below any share, so it only has to be chosen soon: a short time slice, which everybody may ask for since
//! Linux 6.12, makes it preempt whoever runs when it wakes up.
//!
//! Measured on two processors with eight processes that never sleep and 100 ms between packets, how late the latest of
//! some 900 packets was: with a share of 50m 143 ms (a short slice does not help there), 200m 91 ms, 200m and a short
//! slice 33 ms, 250m and a short slice 3 ms.
//!
//! What a router at 100 ms x 3 makes of that, beside compilations and two to eight processes that never sleep (load 11 to
//! 22): with a share of 50m it lost the session 10 to 15 times in 4 minutes, with 200m never in 8 minutes, even without the
//! short slice.

use std::io::Error;

use nix::libc;

/// Well before ordinary work, behind the kernel's own.
const NICE: libc::c_int = -15;

/// The shortest time slice that the kernel gives, in nanoseconds.
const SLICE: u64 = 100_000;

/// What the kernel granted to the calling thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Real time.
    Fifo,
    /// A negative nice value.
    Nice,
    /// A share and a short time slice.
    Short,
    /// Nothing.
    Normal,
}

impl Class {
    /// As the report has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Nice => "nice",
            Self::Short => "short",
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
    } else if short().is_ok() {
        Class::Short
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

/// Older kernels ignore the slice.
fn short() -> Result<(), Error> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).map_err(Error::other)?;
    // The nice value is set as well; it stays what it is.
    #[allow(unsafe_code, reason = "the function takes no pointers")]
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let attributes = libc::sched_attr {
        size,
        sched_policy: u32::try_from(libc::SCHED_OTHER).map_err(Error::other)?,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SLICE,
        sched_deadline: 0,
        sched_period: 0,
    };
    #[allow(
        unsafe_code,
        reason = "the pointer is to a live sched_attr of the size that it names, which the kernel reads"
    )]
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
