//! How long a member may be silent.

use std::time::Duration;

use crate::io::FailureDetection;
use crate::model::time::ms;

/// Between two rounds, unless it is configured otherwise.
pub const ROUND: Duration = ms(100);

/// The times of a setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Between two rounds.
    pub round: Duration,
    /// Some rounds without an answer, less the time in which the last of them may still be answered: from then on a member
    /// is suspected, and the first questions after that are the next round. One that answers
    /// pings and is silent on the link for so long does not reach the link.
    pub silent: Duration,
    /// How long others are asked before the alarm.
    pub burst: Duration,
    /// Between two such questions.
    pub burst_interval: Duration,
}

impl Times {
    pub const fn of(setting: FailureDetection) -> Self {
        match setting {
            FailureDetection::Fast => Self { round: ms(50), silent: ms(140), burst: ms(40), burst_interval: ms(10) },
            FailureDetection::Normal => Self { round: ROUND, silent: ms(235), burst: ms(60), burst_interval: ms(15) },
            FailureDetection::Relaxed => {
                Self { round: ms(200), silent: ms(985), burst: ms(200), burst_interval: ms(40) }
            }
        }
    }
}
