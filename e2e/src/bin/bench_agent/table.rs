//! Prints the table.

use std::time::Duration;

use crate::figures::{Times, readable};

/// The columns' titles.
const HEAD: [&str; 6] = ["", "median", "p99", "aim", "PureLB 0.17", "MetalLB 0.16"];

/// A line of the table: what was measured, the figures, the goal, and the figures of other load balancers.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    what: String,
    median: String,
    almost_all: String,
    aim: String,
    peers: [String; 2],
    /// The time that is compared with a goal.
    time: Duration,
}

impl Line {
    /// A line with one figure.
    pub(crate) fn new(what: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            median: value.into(),
            almost_all: "-".into(),
            aim: "-".into(),
            peers: ["-", "-"].map(str::to_owned),
            time: Duration::ZERO,
        }
    }

    /// A line with the times of many runs.
    pub(crate) fn times(what: impl Into<String>, times: &Times) -> Self {
        let line = Self::new(what, readable(times.median()));
        Self { almost_all: readable(times.almost_all()), time: times.median(), ..line }
    }

    /// Adds a goal in words, and whether it is met.
    pub(crate) fn aim(self, aim: &str, met: bool) -> Self {
        Self { aim: format!("{aim}: {}", if met { "yes" } else { "NO" }), ..self }
    }

    /// Adds the goal that the median is under a limit.
    pub(crate) fn median_under(self, words: &str, limit: Duration) -> Self {
        let met = self.time < limit;
        self.aim(&format!("under {words}"), met)
    }

    /// Adds the figures of other load balancers.
    pub(crate) fn peers(self, purelb: &str, metallb: &str) -> Self {
        Self { peers: [purelb.to_owned(), metallb.to_owned()], ..self }
    }
}

/// Prints the lines as a table.
pub(crate) fn print(lines: &[Line]) {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(lines.iter().cloned().map(|line| {
        let [purelb, metallb] = line.peers;
        [line.what, line.median, line.almost_all, line.aim, purelb, metallb]
    }));
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max().unwrap_or_default();
            // Figures are aligned to the right.
            if matches!(column, 1 | 2) { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
