//! When the program ends: routers are asked for patience first, unless the host goes down.
//!
//! A source may say that the host goes down. Where none does, the signals do: systemd sends SIGCONT right after SIGTERM to
//! each process of what it stops (systemd.kill(5)), and the kubelet sends SIGTERM alone.

use std::time::Duration;

use bfd::Time;
use nix::sys::signal::Signal;

/// SIGCONT follows SIGTERM within this time.
const TOGETHER: Duration = Duration::from_millis(20);

/// How long peers may take to answer the Poll before the end.
const SLOW_DOWN: Duration = Duration::from_secs(3);

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Continue,
    /// Ask the peers for patience.
    SlowDown,
    /// End.
    End,
}

/// What has been asked of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ending {
    /// Nothing.
    #[default]
    No,
    /// To end; whether the host goes down is not known yet.
    Asked(Time),
    /// To end; the peers are being made patient until then.
    Slowing(Time),
    /// To end at once.
    Now,
}

impl Ending {
    /// A signal has come.
    #[must_use]
    pub fn after(self, signal: Signal, now: Time) -> Self {
        match (self, signal) {
            // The program was stopped and goes on.
            (Self::No, Signal::SIGCONT) => Self::No,
            (Self::No, _) => Self::Asked(now),
            (Self::Slowing(until), Signal::SIGCONT) => Self::Slowing(until),
            // The host goes down, or somebody asks twice.
            _ => Self::Now,
        }
    }

    /// When [`Self::step`] has something to do.
    #[must_use]
    pub fn next_deadline(self) -> Option<Time> {
        match self {
            Self::No => None,
            Self::Asked(at) => Some(at.after(TOGETHER)),
            Self::Slowing(until) => Some(until),
            Self::Now => Some(Time::default()),
        }
    }

    /// What is to be done. `host`: a source says that the host goes down. `patient`: all peers wait for the next process.
    pub fn step(&mut self, now: Time, host: bool, patient: bool) -> Step {
        match *self {
            Self::No => Step::Continue,
            Self::Asked(_) | Self::Slowing(_) if host => Step::End,
            Self::Asked(at) if now < at.after(TOGETHER) => Step::Continue,
            Self::Asked(_) => {
                *self = Self::Slowing(now.after(SLOW_DOWN));
                Step::SlowDown
            }
            Self::Slowing(until) if now < until && !patient => Step::Continue,
            Self::Slowing(_) | Self::Now => Step::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Time {
        Time::new(Duration::from_millis(1000 + millis))
    }

    #[test]
    fn the_kubelet_asks() {
        let mut ending = Ending::default().after(Signal::SIGTERM, at(0));
        assert_eq!(ending.next_deadline(), Some(at(20)));
        assert_eq!(ending.step(at(0), false, true), Step::Continue);
        assert_eq!(ending.step(at(20), false, false), Step::SlowDown);
        assert_eq!(ending.step(at(20), false, false), Step::Continue);
        assert_eq!(ending.step(at(100), false, true), Step::End);
        assert_eq!(ending.step(at(3020), false, false), Step::End);
    }

    #[test]
    fn systemd_stops_the_host() {
        let mut ending = Ending::default().after(Signal::SIGTERM, at(0)).after(Signal::SIGCONT, at(1));
        assert_eq!(ending.step(at(1), false, false), Step::End);
    }

    #[test]
    fn a_source_says_that_the_host_goes_down() {
        let mut ending = Ending::default();
        assert_eq!(ending.step(at(0), true, true), Step::Continue);
        ending = ending.after(Signal::SIGTERM, at(0));
        assert_eq!(ending.step(at(0), true, false), Step::End);
    }

    #[test]
    fn a_program_that_was_stopped_goes_on() {
        let mut ending = Ending::default().after(Signal::SIGCONT, at(0));
        assert_eq!(ending.step(at(0), false, false), Step::Continue);
        ending = ending.after(Signal::SIGTERM, at(500));
        assert_eq!(ending.step(at(520), false, false), Step::SlowDown);
        ending = ending.after(Signal::SIGCONT, at(600));
        assert_eq!(ending.step(at(600), false, false), Step::Continue);
        assert_eq!(ending.after(Signal::SIGTERM, at(700)), Ending::Now);
    }
}
