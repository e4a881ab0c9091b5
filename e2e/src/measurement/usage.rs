//! What a process of this machine uses.

use std::{fs, time::Duration};

use crate::base::error::{Doing, Result, unexpected};

/// Resident memory in MB (10^6 bytes).
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Now.
    pub now: f64,
    /// At most, so far.
    pub most: f64,
}

impl Memory {
    /// That of a process.
    ///
    /// # Errors
    /// It has ended.
    pub fn of(pid: i32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).doing(|| format!("read {path}"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
            kilobytes.map(|kilobytes| kilobytes * 1.024e-3).ok_or_else(|| unexpected(&path, format!("no {name}")))
        };
        Ok(Self { now: field("VmRSS:")?, most: field("VmHWM:")? })
    }
}

/// The processor time that a process has used so far.
///
/// # Errors
/// It has ended.
pub fn processor_time(pid: i32) -> Result<Duration> {
    let path = format!("/proc/{pid}/task");
    let mut nanoseconds = 0;
    for task in fs::read_dir(&path).doing(|| format!("list {path}"))? {
        let task = task.doing(|| format!("list {path}"))?;
        // A thread that ends this moment does no harm.
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or_default();
    }
    Ok(Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let this = i32::try_from(std::process::id()).unwrap();
        let memory = Memory::of(this).unwrap();
        assert!(memory.now > 0.5 && memory.most >= memory.now, "{memory:?}");
        assert!(processor_time(this).unwrap() > Duration::ZERO);
        assert!(processor_time(-1).is_err());
    }
}
