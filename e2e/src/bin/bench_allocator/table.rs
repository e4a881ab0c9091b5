//! Prints the table.

use std::time::Duration;

/// A line of the table: what was measured, the figures without and with the allocator, and the goal.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) raw: String,
    pub(super) ours: String,
    pub(super) ratio: String,
    pub(super) aim: String,
}

impl Line {
    pub(super) fn new(what: impl Into<String>, raw: impl Into<String>, ours: impl Into<String>) -> Self {
        Self { what: what.into(), raw: raw.into(), ours: ours.into(), ratio: String::new(), aim: String::new() }
    }

    /// Adds a ratio, its goal in words, and whether it is met.
    pub(super) fn ratio(mut self, ratio: f64, aim: &str, met: bool) -> Self {
        self.ratio = format!("{ratio:.2}");
        self.aim(aim, met)
    }

    /// Adds a goal in words, and whether it is met.
    pub(super) fn aim(mut self, aim: &str, met: bool) -> Self {
        self.aim = format!("{aim}: {}", if met { "yes" } else { "NO" });
        self
    }
}

/// Prints the lines as a table.
pub(super) fn print(lines: &[Line]) {
    let columns: [fn(&Line) -> &str; 4] =
        [|line| &*line.what, |line| &*line.raw, |line| &*line.ours, |line| &*line.ratio];
    let head = Line {
        what: String::new(),
        raw: "raw limit".into(),
        ours: "allocator".into(),
        ratio: "ratio".into(),
        aim: "aim".into(),
    };
    let all: Vec<&Line> = std::iter::once(&head).chain(lines).collect();
    let widths = columns.map(|column| all.iter().map(|line| column(line).chars().count()).max().unwrap_or_default());
    for line in all {
        let [what, raw, ours, ratio] = columns.map(|column| column(line));
        let [first, second, third, fourth] = widths;
        let text = format!("{what:first$}  {raw:>second$}  {ours:>third$}  {ratio:>fourth$}  {}", line.aim);
        println!("{}", text.trim_end());
    }
}

/// Milliseconds with one decimal.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// A number per second.
pub(super) fn rate(rate: f64) -> String {
    format!("{rate:.0}/s")
}

/// The median; zero if there are no values.
pub(super) fn median<T: Copy + PartialOrd + Default>(values: &[T]) -> T {
    let mut values = values.to_vec();
    values.sort_by(|one, two| one.partial_cmp(two).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0_f64).abs() < 1e-9);
        assert_eq!(median::<u32>(&[]), 0);
    }
}
