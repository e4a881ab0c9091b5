//! The series of BFD. They are made when they are read, from the last report.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::bfd::State;
use ::bfd::report::{PeerReport, Report, SessionReport};
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::view::name;

/// A series: its name, its help, whether it counts, its labels beside the peer's.
type Series = (&'static str, &'static str, bool, &'static [&'static str]);

/// A series of the program: its name, its help, its value.
type Program = (&'static str, &'static str, fn(&Report) -> f64);

const PEER_UP: Series = ("purelb_bfd_peer_up", "1 if the router and this node hear each other", false, &[]);
const REFUSED: Series = ("purelb_bfd_packets_refused_total", "Packets of the router that were not accepted", true, &[]);
const STATE: Series =
    ("purelb_bfd_session_state", "State of the session: 0 AdminDown, 1 Down, 2 Init, 3 Up", false, &["port"]);
const TRANSITIONS: Series =
    ("purelb_bfd_session_transitions_total", "How often the session became Up or left Up", true, &["port", "to"]);
const DIAGNOSTIC: Series = (
    "purelb_bfd_session_last_diagnostic",
    "Why the session was last lost, as a number of RFC 5880 4.1",
    false,
    &["port"],
);
const DETECTION: Series = (
    "purelb_bfd_detection_seconds",
    "After how long without packets the router takes this node for dead",
    false,
    &["port"],
);
const PACKETS: Series = ("purelb_bfd_packets_total", "Packets of the session", true, &["port", "direction"]);
/// Of the program, without labels.
const PAUSES: Program =
    ("purelb_bfd_pauses_total", "How often bfd-speaker had to wait for the processor for more than 100 ms", |report| {
        float(report.pauses.count)
    });
const PAUSED: Program = ("purelb_bfd_paused_seconds_total", "How long it had to wait, together", |report| {
    Duration::from_micros(report.pauses.microseconds).as_secs_f64()
});
const OF_THE_PROGRAM: [Program; 2] = [PAUSES, PAUSED];
const SERIES: [Series; 7] = [PEER_UP, REFUSED, STATE, TRANSITIONS, DIAGNOSTIC, DETECTION, PACKETS];

/// The series. Clones show the same.
#[derive(Debug, Clone)]
pub struct BfdMetrics {
    descriptions: Vec<Desc>,
    report: Arc<Mutex<Option<Report>>>,
}

impl BfdMetrics {
    /// Registers the series.
    ///
    /// # Errors
    /// When series of these names are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let describe = |(name, help, _, labels): Series| {
            let labels = ["peer"].iter().chain(labels).map(|label| (*label).to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
        };
        let unlabelled =
            |(name, help, _): Program| Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new());
        let of_the_program = OF_THE_PROGRAM.into_iter().map(unlabelled);
        let descriptions = SERIES.into_iter().map(describe).chain(of_the_program).collect::<prometheus::Result<_>>()?;
        let metrics = Self { descriptions, report: Arc::default() };
        registry.register(Box::new(metrics.clone()))?;
        Ok(metrics)
    }

    /// Shows this report; nothing while the program does not run.
    pub fn show(&self, report: Option<&Report>) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report.cloned();
    }
}

impl Collector for BfdMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let peers = report.as_ref().map(|report| report.peers.as_slice()).unwrap_or_default();
        let families = SERIES.into_iter().map(|series| {
            let metrics = peers.iter().flat_map(|peer| values(series, peer)).collect::<Vec<_>>();
            family(series, metrics)
        });
        let of_the_program = OF_THE_PROGRAM.into_iter().map(|(name, help, read)| {
            let metrics = report.iter().map(|report| plain(read(report))).collect();
            family((name, help, true, &[]), metrics)
        });
        families.chain(of_the_program).filter(|family| !family.get_metric().is_empty()).collect()
    }
}

/// A counter without labels.
fn plain(value: f64) -> Metric {
    valued(Metric::default(), true, value)
}

/// The values of a series for a peer.
fn values(series: Series, peer: &PeerReport) -> Vec<Metric> {
    let (name_of_series, _, counts, labels) = series;
    let router = name(peer.address, peer.interface.as_deref());
    let value = |more: &[String], value: f64| metric(counts, &router, labels, more, value);
    if name_of_series == PEER_UP.0 {
        let up = peer.sessions.iter().any(|session| session.state == State::Up);
        return vec![value(&[], f64::from(u8::from(up)))];
    }
    if name_of_series == REFUSED.0 {
        return vec![value(&[], float(peer.refused))];
    }
    let of_session = |session: &SessionReport| {
        let port = session.hops.port().to_string();
        let one = |number: f64| vec![value(std::slice::from_ref(&port), number)];
        let two = |[(first, a), (second, b)]: [(&str, u64); 2]| {
            let each = |(word, count): (&str, u64)| value(&[port.clone(), word.to_owned()], float(count));
            vec![each((first, a)), each((second, b))]
        };
        match name_of_series {
            name if name == STATE.0 => one(f64::from(session.state.bits())),
            name if name == TRANSITIONS.0 => two([("Up", session.ups), ("Down", session.downs)]),
            name if name == DIAGNOSTIC.0 => one(f64::from(session.last_lost_diagnostic)),
            name if name == DETECTION.0 => {
                one(Duration::from_micros(session.remote_detection_time_microseconds).as_secs_f64())
            }
            _ => two([("sent", session.sent), ("received", session.received)]),
        }
    };
    peer.sessions.iter().flat_map(of_session).collect()
}

fn metric(counts: bool, router: &str, labels: &[&str], more: &[String], value: f64) -> Metric {
    let pairs = labels.iter().copied().zip(more.iter().map(String::as_str));
    let mut pairs: Vec<LabelPair> = pairs.chain([("peer", router)]).map(label).collect();
    // The order that the registry demands.
    pairs.sort_by(|one, two| one.name().cmp(two.name()));
    valued(Metric::from_label(pairs), counts, value)
}

fn valued(mut metric: Metric, counts: bool, value: f64) -> Metric {
    if counts {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

fn label((name, value): (&str, &str)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn family((name, help, counts, _): Series, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(if counts { MetricType::COUNTER } else { MetricType::GAUGE });
    family.set_metric(metrics);
    family
}

/// The nearest number.
fn float(count: u64) -> f64 {
    let half = |bits: u64| f64::from(u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX));
    half(count >> 32) * 4_294_967_296.0 + half(count)
}

#[cfg(test)]
mod tests {
    use ::bfd::report::Pauses;
    use prometheus::TextEncoder;
    use serde_json::json;

    use super::super::view::testing::{report, session};
    use super::*;

    #[test]
    fn each_peer_and_session_has_its_series() {
        let registry = Registry::new();
        let metrics = BfdMetrics::new(&registry).unwrap();
        let text = || TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert_eq!(text(), "");
        let more = json!({"lastLostDiagnostic": 1, "downs": 2, "sent": 5_000_000_000_u64});
        let mut report = report(&[session(&more)], None);
        report.pauses = Pauses { count: 2, microseconds: 2_500_000, ..Pauses::default() };
        metrics.show(Some(&report));
        let text = text();
        for line in [
            "purelb_bfd_peer_up{peer=\"192.0.2.1\"} 1",
            "purelb_bfd_packets_refused_total{peer=\"192.0.2.1\"} 0",
            "purelb_bfd_session_state{peer=\"192.0.2.1\",port=\"3784\"} 3",
            "purelb_bfd_session_transitions_total{peer=\"192.0.2.1\",port=\"3784\",to=\"Down\"} 2",
            "purelb_bfd_session_last_diagnostic{peer=\"192.0.2.1\",port=\"3784\"} 1",
            "purelb_bfd_detection_seconds{peer=\"192.0.2.1\",port=\"3784\"} 0.9",
            "purelb_bfd_pauses_total 2",
            "purelb_bfd_paused_seconds_total 2.5",
            "purelb_bfd_packets_total{direction=\"sent\",peer=\"192.0.2.1\",port=\"3784\"} 5000000000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
