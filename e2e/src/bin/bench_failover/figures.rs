//! Measurements of one phase of one run, and statistics over many runs.

use std::{fmt, time::Duration};

/// What the client saw of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figures {
    /// The longest time without an answer.
    pub(crate) longest: Duration,
    /// The sum of all times without an answer.
    pub(crate) without: Duration,
    /// The time during which two hosts answered.
    pub(crate) double: Duration,
    /// How often the answers changed from one host to another.
    pub(crate) moves: usize,
    /// TCP connections tried.
    pub(crate) tried: usize,
    /// Those of them that failed.
    pub(crate) failed: usize,
}

/// One phase of one run.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    /// The line of the table it belongs to.
    pub(crate) line: &'static str,
    /// The figures of the IPv4 and of the IPv6 address; `None` if the event does not concern the address.
    pub(crate) figures: [Option<Figures>; 2],
    /// The longest time for which this machine itself stood still, if it did.
    pub(crate) standstill: Option<Duration>,
    /// A remark about something that the figures do not show.
    pub(crate) note: Option<String>,
    /// Whether what the note describes is as it should be.
    pub(crate) good: bool,
}

impl Sample {
    /// All remarks: the standstill and the note.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = String> {
        let standstill = self.standstill.map(|time| format!("this machine itself stood still for {} ms", millis(time)));
        standstill.into_iter().chain(self.note.clone())
    }

    /// Adds a note.
    pub(crate) fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// If something is wrong, marks the sample as not good and adds a note.
    pub(crate) fn wrong_if(self, wrong: bool, note: impl Into<String>) -> Self {
        if wrong { Self { good: false, ..self.noted(note) } } else { self }
    }
}

/// Applies [`Sample::wrong_if`] to the first of the samples, which is that of the event itself.
pub(crate) fn first_wrong_if(wrong: bool, note: &str, samples: Vec<Sample>) -> Vec<Sample> {
    let mark = |(place, sample): (usize, Sample)| sample.wrong_if(wrong && place == 0, note);
    samples.into_iter().enumerate().map(mark).collect()
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.line)?;
        for (family, figures) in ["IPv4", "IPv6"].into_iter().zip(self.figures) {
            let Some(figures) = figures else { continue };
            let Figures { longest, without, double, moves, tried, failed } = figures;
            let (longest, without, double) = (millis(longest), millis(without), millis(double));
            write!(
                formatter,
                "; {family}: {longest} ms without (together {without}), {double} ms double, {moves} moves, {failed} of {tried} connections failed"
            )?;
        }
        for remark in self.remarks() {
            write!(formatter, "; {remark}")?;
        }
        Ok(())
    }
}

/// The samples of one line and one family.
#[derive(Debug, Clone)]
pub(crate) struct Many(Vec<Figures>);

impl Many {
    /// Selects the samples of one family (0 or 1).
    pub(crate) fn of(samples: &[&Sample], family: usize) -> Self {
        Self(samples.iter().filter_map(|sample| *sample.figures.get(family)?).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The median of the values, and the worst.
    pub(crate) fn median_and_worst<T: Ord + Copy + Default>(&self, value: impl Fn(&Figures) -> T) -> (T, T) {
        let mut values: Vec<T> = self.0.iter().map(value).collect();
        values.sort_unstable();
        // If their number is even, the greater of the two middle ones.
        (values.get(values.len() / 2).copied().unwrap_or_default(), values.last().copied().unwrap_or_default())
    }
}

/// Milliseconds, with decimals only below 10.
pub(crate) fn millis(time: Duration) -> String {
    if time.is_zero() {
        "0".to_owned()
    } else if time < Duration::from_millis(10) {
        format!("{:.1}", time.as_secs_f64() * 1000.0)
    } else {
        format!("{:.0}", time.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(longest: [u64; 2]) -> Sample {
        let figures = longest.map(|longest| {
            let longest = Duration::from_millis(longest);
            Some(Figures { longest, without: longest, double: Duration::ZERO, moves: 1, tried: 9, failed: 2 })
        });
        Sample { line: "cut", figures, standstill: None, note: None, good: true }
    }

    #[test]
    fn median_and_worst_are_taken_by_family() {
        let samples = [sample([300, 1]), sample([100, 2]), sample([200, 3])];
        let samples: Vec<_> = samples.iter().collect();
        let (median, worst) = Many::of(&samples, 0).median_and_worst(|figures| figures.longest);
        assert_eq!((median.as_millis(), worst.as_millis()), (200, 300));
        assert_eq!(Many::of(&samples, 1).median_and_worst(|figures| figures.moves), (1, 1));
        assert!(Many::of(&[], 0).is_empty());
    }

    #[test]
    fn small_times_have_a_digit_more() {
        assert_eq!([0, 4_500, 45_600].map(|time| millis(Duration::from_micros(time))), ["0", "4.5", "46"]);
    }
}
