//! What of the reports is worth a Kubernetes event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ::bfd::report::{PeerReport, Report, SessionReport};
use ::bfd::{Diagnostic, State};
use api_types::names::reason;
use runtime::BootTime;
use runtime::events::Kind;

use super::view::{Status, latest, name, up};

/// How long a router may not hear this node, or may send what is refused, before that is reported. A session that begins is
/// in this state for a moment.
const TROUBLE: Duration = Duration::from_secs(5);

/// A pause of bfd-speaker that ended so shortly before is why a router has lost the session.
const RECENT: Duration = Duration::from_secs(5);

/// Something that is worth a Kubernetes event about the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its type.
    pub kind: Kind,
    /// Its reason.
    pub reason: &'static str,
    /// The sentence.
    pub text: String,
}

#[derive(Debug, Default)]
struct Seen {
    up: bool,
    downs: u64,
    /// Since when the router speaks in vain.
    trouble: Option<BootTime>,
    trouble_reported: bool,
}

/// What the last report had.
#[derive(Debug, Default)]
pub struct Changes {
    /// A report was compared before.
    begun: bool,
    peers: BTreeMap<String, Seen>,
    ports: BTreeSet<String>,
}

impl Changes {
    /// Compares a fresh report with the last one. What the first one says was so before: the agent has just started.
    pub fn compare(&mut self, report: &Report, now: BootTime) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut before = std::mem::take(&mut self.peers);
        let begun = std::mem::replace(&mut self.begun, true);
        for peer in &report.peers {
            let router = name(peer.address, peer.interface.as_deref());
            let downs = peer.sessions.iter().map(|session| session.downs).sum();
            let mut seen = Seen { up: up(peer).is_some(), downs, ..Seen::default() };
            let last = before.remove(&router).or_else(|| begun.then(Seen::default));
            if let Some(last) = last {
                notices.extend(transition(peer, report, &router, &last, &seen));
                (seen.trouble, seen.trouble_reported) = (last.trouble, last.trouble_reported);
            }
            let status = Status::new(peer, report);
            if matches!(status, Status::NotHeard | Status::Refused(_)) {
                let since = *seen.trouble.get_or_insert(now);
                if now.since(since) >= TROUBLE && !std::mem::replace(&mut seen.trouble_reported, true) {
                    let text = status.sentence(&router);
                    notices.push(Notice { kind: Kind::Warning, reason: reason::BFD_UNAVAILABLE, text });
                }
            } else {
                (seen.trouble, seen.trouble_reported) = (None, false);
            }
            self.peers.insert(router, seen);
        }
        let taken: BTreeSet<String> = report.ports.iter().filter_map(|port| port.error.clone()).collect();
        for text in taken.difference(&self.ports) {
            let text = format!("routers cannot reach this node by BFD: {text}");
            notices.push(Notice { kind: Kind::Warning, reason: reason::BFD_UNAVAILABLE, text });
        }
        self.ports = taken;
        notices
    }
}

fn transition(peer: &PeerReport, report: &Report, router: &str, last: &Seen, seen: &Seen) -> Option<Notice> {
    let after = Status::new(peer, report).sentence(router);
    match (last.up, seen.up) {
        (false, true) => {
            Some(Notice { kind: Kind::Normal, reason: reason::SESSION_UP, text: format!("BFD is up: {after}") })
        }
        (true, true) if seen.downs > last.downs => {
            let (_, why) = why(up(peer)?, report);
            let text = format!("BFD with the router {router} was down for a moment, because {why}; it is up again");
            Some(Notice { kind: Kind::Warning, reason: reason::SESSION_DOWN, text })
        }
        (true, false) => {
            let (kind, why) = why(latest(peer)?, report);
            let text = format!("BFD with the router {router} is down, because {why}");
            Some(Notice { kind, reason: reason::SESSION_DOWN, text })
        }
        _ => None,
    }
}

/// Why a session was lost (RFC 5880 4.1), and whether somebody should look at it.
fn why(session: &SessionReport, report: &Report) -> (Kind, String) {
    let lost = Diagnostic::from_bits(session.last_lost_diagnostic);
    let silent = Diagnostic::from_bits(session.remote_diagnostic) == Diagnostic::DETECTION_TIME_EXPIRED;
    if lost == Diagnostic::DETECTION_TIME_EXPIRED {
        let seconds = Duration::from_micros(session.detection_time_microseconds).as_secs_f64();
        let text = format!("nothing was received from it for {seconds} s: it has failed, or the way from it has");
        (Kind::Warning, text)
    } else if lost == Diagnostic::NEIGHBOR_SIGNALED_DOWN && session.remote_state == State::AdminDown {
        (Kind::Normal, "the router has shut BFD down by its configuration".to_owned())
    } else if lost == Diagnostic::NEIGHBOR_SIGNALED_DOWN && silent {
        let text = pause(session, report).map_or_else(
            || "the way to it has failed, or this node was too busy".to_owned(),
            |pause| format!("bfd-speaker had to wait {} s for the processor", pause.as_secs_f64()),
        );
        (Kind::Warning, format!("the router received nothing from this node in time: {text}"))
    } else if lost == Diagnostic::NEIGHBOR_SIGNALED_DOWN {
        (Kind::Normal, "the router has ended it: BFD or BGP was restarted there".to_owned())
    } else {
        (Kind::Warning, format!("of this diagnostic: {lost}"))
    }
}

/// How long the program did not run just before the session was lost.
fn pause(session: &SessionReport, report: &Report) -> Option<Duration> {
    let pauses = report.pauses;
    let ended = Duration::from_micros(pauses.last_ended_at_microseconds);
    let lost = Duration::from_micros(session.since_microseconds);
    let near = pauses.count > 0 && ended.abs_diff(lost) < RECENT;
    near.then(|| Duration::from_millis(pauses.last_microseconds / 1000))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::view::testing::{report, session};
    use super::*;

    fn at(seconds: u64) -> BootTime {
        BootTime::from_duration(Duration::from_secs(1000 + seconds))
    }

    fn compare(changes: &mut Changes, sessions: &[Value], seconds: u64) -> Vec<(Kind, &'static str, String)> {
        let notices = changes.compare(&report(sessions, None), at(seconds));
        notices.into_iter().map(|notice| (notice.kind, notice.reason, notice.text)).collect()
    }

    #[test]
    fn a_session_comes_and_goes() {
        let mut changes = Changes::default();
        assert!(compare(&mut changes, &[], 0).is_empty());
        let came = compare(&mut changes, &[session(&json!({}))], 1);
        let text = "BFD is up: the router 192.0.2.1 would notice this node's death after 0.9 s".to_owned();
        assert_eq!(came, [(Kind::Normal, "SessionUp", text)]);
        assert!(compare(&mut changes, &[session(&json!({"sent": 99}))], 2).is_empty());
        for (more, kind, why) in [
            (json!({"lastLostDiagnostic": 1}), Kind::Warning, "nothing was received from it for 0.9 s"),
            (json!({"lastLostDiagnostic": 3, "remoteDiagnostic": 1}), Kind::Warning, "the router received nothing"),
            (json!({"lastLostDiagnostic": 3, "remoteState": "AdminDown"}), Kind::Normal, "has shut BFD down"),
            (json!({"lastLostDiagnostic": 3}), Kind::Normal, "BFD or BGP was restarted there"),
        ] {
            compare(&mut changes, &[session(&json!({}))], 3);
            let mut lost = json!({"state": "Down", "remoteState": "Down", "downs": 1});
            lost.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let [(found, reason, text)] = compare(&mut changes, &[session(&lost)], 4).try_into().unwrap();
            assert_eq!((found, reason), (kind, "SessionDown"));
            assert!(text.contains(why), "{text}");
        }
    }

    #[test]
    fn a_program_that_was_late_is_named_and_not_the_network() {
        let lost = json!({"state": "Down", "remoteState": "Down", "downs": 1, "lastLostDiagnostic": 3,
            "remoteDiagnostic": 1, "sinceMicroseconds": 60_000_000});
        let mut changes = Changes::default();
        compare(&mut changes, &[session(&json!({}))], 0);
        let mut report = report(&[session(&lost)], None);
        report.pauses.count = 1;
        report.pauses.last_microseconds = 2_000_000;
        report.pauses.last_ended_at_microseconds = 59_900_000;
        let [notice] = changes.compare(&report, at(1)).try_into().unwrap();
        assert!(notice.text.contains("bfd-speaker had to wait 2 s for the processor"), "{}", notice.text);
    }

    #[test]
    fn what_the_agent_did_not_see_begin_is_no_change() {
        let mut changes = Changes::default();
        assert!(compare(&mut changes, &[session(&json!({}))], 0).is_empty());
        let blink = session(&json!({"downs": 1, "ups": 2, "lastLostDiagnostic": 1}));
        let [(_, reason, text)] = compare(&mut changes, &[blink], 1).try_into().unwrap();
        assert!(reason == "SessionDown" && text.ends_with("it is up again"), "{text}");
    }

    #[test]
    fn a_peer_that_is_up_in_a_later_report_is_new() {
        let mut changes = Changes::default();
        let mut none = report(&[], None);
        none.peers.clear();
        assert!(changes.compare(&none, at(0)).is_empty());
        let [(kind, reason, _)] = compare(&mut changes, &[session(&json!({}))], 1).try_into().unwrap();
        assert_eq!((kind, reason), (Kind::Normal, "SessionUp"));
    }

    #[test]
    fn a_router_that_changes_the_port_is_never_down() {
        let mut changes = Changes::default();
        compare(&mut changes, &[session(&json!({}))], 0);
        let old = session(&json!({"state": "Down"}));
        assert!(compare(&mut changes, &[old, session(&json!({"hops": "multi"}))], 1).is_empty());
    }

    #[test]
    fn a_router_that_does_not_hear_us_is_reported_once_and_not_at_once() {
        let mut changes = Changes::default();
        let init = [session(&json!({"state": "Init", "remoteState": "Down"}))];
        assert!(compare(&mut changes, &init, 0).is_empty());
        assert!(compare(&mut changes, &init, 4).is_empty());
        let [(kind, reason, text)] = compare(&mut changes, &init, 5).try_into().unwrap();
        assert_eq!((kind, reason), (Kind::Warning, "BFDUnavailable"));
        assert!(text.contains("does not hear this node's answers"), "{text}");
        assert!(compare(&mut changes, &init, 60).is_empty());
    }

    #[test]
    fn a_router_whose_packets_are_refused_is_reported_with_the_reason() {
        let mut changes = Changes::default();
        let mut refused = report(&[], None);
        refused.peers[0].last_refusal = Some("the packet is authenticated; remove authentication".to_owned());
        assert!(changes.compare(&refused, at(0)).is_empty());
        let [notice] = changes.compare(&refused, at(5)).try_into().unwrap();
        assert_eq!((notice.kind, notice.reason), (Kind::Warning, "BFDUnavailable"));
        assert!(notice.text.contains("the packet is authenticated; remove authentication"), "{}", notice.text);
        assert!(changes.compare(&refused, at(60)).is_empty());
    }

    #[test]
    fn a_taken_port_is_reported_once() {
        let mut changes = Changes::default();
        let taken = report(&[], Some("cannot open UDP port 3784 (IPv4): in use"));
        assert_eq!(changes.compare(&taken, at(0)).len(), 1);
        assert!(changes.compare(&taken, at(1)).is_empty());
        assert!(changes.compare(&report(&[], None), at(2)).is_empty());
        assert_eq!(changes.compare(&taken, at(3)).len(), 1);
    }
}
