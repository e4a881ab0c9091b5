//! What a client sees: for each address, who would answer, integrated over simulated time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ownership::Time;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Time,
    pub to: Time,
}

impl Span {
    pub fn length(&self) -> Duration {
        self.to.since(self.from)
    }
}

#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Hosts that would answer.
    pub now: Vec<usize>,
    pub since: Time,
    pub without: Vec<Span>,
    pub double: Vec<Span>,
    /// Owners, in order of time.
    pub owners: Vec<(Time, usize)>,
}

#[derive(Debug, Clone, Default)]
pub struct Measure {
    pub addresses: BTreeMap<IpAddr, Seen>,
}

impl Measure {
    pub fn set(&mut self, address: IpAddr, answers: Vec<usize>, now: Time) {
        let seen = self.addresses.entry(address).or_default();
        if seen.now == answers {
            return;
        }
        let span = Span { from: seen.since, to: now };
        if span.length() > Duration::ZERO {
            match seen.now.len() {
                0 => seen.without.push(span),
                1 => {}
                _ => seen.double.push(span),
            }
        }
        if let [owner] = answers.as_slice()
            && seen.owners.last().is_none_or(|(_, last)| last != owner)
        {
            seen.owners.push((now, *owner));
        }
        seen.now = answers;
        seen.since = now;
    }

    /// Closes the open spans, so that they count.
    pub fn close(&mut self, now: Time) {
        for seen in self.addresses.values_mut() {
            let span = Span { from: seen.since, to: now };
            match seen.now.len() {
                0 => seen.without.push(span),
                1 => {}
                _ => seen.double.push(span),
            }
            seen.since = now;
        }
    }

    fn spans(seen: &Seen, double: bool, now: Time) -> Vec<Span> {
        let mut spans = if double { seen.double.clone() } else { seen.without.clone() };
        let open = Span { from: seen.since, to: now };
        if (double && seen.now.len() > 1) || (!double && seen.now.is_empty()) {
            spans.push(open);
        }
        spans
    }

    /// The longest time without an answer that overlaps what came after `after`.
    pub fn worst_without(&self, address: IpAddr, after: Time, now: Time) -> Duration {
        Self::worst(&Self::spans(&self.addresses[&address], false, now), after)
    }

    pub fn worst_double(&self, address: IpAddr, after: Time, now: Time) -> Duration {
        Self::worst(&Self::spans(&self.addresses[&address], true, now), after)
    }

    pub fn sum_double(&self, address: IpAddr, after: Time, now: Time) -> Duration {
        Self::spans(&self.addresses[&address], true, now).iter().map(|s| s.to.since(s.from.max(after))).sum()
    }

    fn worst(spans: &[Span], after: Time) -> Duration {
        spans
            .iter()
            .filter(|span| span.to > after)
            .map(|span| span.to.since(span.from.max(after)))
            .max()
            .unwrap_or_default()
    }
}
