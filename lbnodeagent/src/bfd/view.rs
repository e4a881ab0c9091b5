//! What is known of each peer, in one sentence.

use std::net::IpAddr;
use std::time::Duration;

use ::bfd::report::{PeerReport, Report, SessionReport};
use ::bfd::wanted::WantedPeer;
use ::bfd::{State, Wanted};
use api_types::lease::{Notices, RouterReport};
use serde::Serialize;

/// A report that is older is of a program that does not run: it writes one every 10 s.
const FRESH: Duration = Duration::from_secs(25);

/// What is known of a peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// Each hears the other. The router takes the node for dead after this time.
    Up(Duration),
    /// The router speaks, and does not hear the answers.
    NotHeard,
    /// The router has switched BFD off.
    AdminDown,
    /// The router says nothing.
    Silent,
    /// The router says nothing, and somebody at this address speaks who is no peer.
    Elsewhere(IpAddr),
    /// Packets come that are not accepted.
    Refused(String),
    /// A port is taken.
    PortTaken(String),
    /// There are more peers than the program serves.
    BeyondLimit,
    /// The program does not run.
    NotRunning,
}

impl Status {
    /// From a report that is fresh.
    #[must_use]
    pub fn new(peer: &PeerReport, report: &Report) -> Self {
        if let Some(session) = up(peer) {
            return Self::Up(Duration::from_micros(session.remote_detection_time_microseconds));
        }
        let family = if peer.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let taken = report.ports.iter().filter(|port| port.family == family).find_map(|port| port.error.clone());
        if let Some(error) = taken {
            return Self::PortTaken(error);
        }
        if peer.sessions.iter().any(|session| session.state == State::Init) {
            return Self::NotHeard;
        }
        if latest(peer).is_some_and(|session| session.remote_state == State::AdminDown) {
            return Self::AdminDown;
        }
        match &peer.last_refusal {
            Some(refusal) if peer.sessions.is_empty() => Self::Refused(refusal.clone()),
            _ => {
                let stranger = report.last_stranger.filter(|stranger| stranger.is_ipv4() == peer.address.is_ipv4());
                stranger.map_or(Self::Silent, Self::Elsewhere)
            }
        }
    }

    /// One word, for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::NotHeard => "notHeard",
            Self::AdminDown => "adminDown",
            Self::Silent => "silent",
            Self::Elsewhere(_) => "otherAddress",
            Self::Refused(_) => "refused",
            Self::PortTaken(_) => "portTaken",
            Self::BeyondLimit => "beyondLimit",
            Self::NotRunning => "notRunning",
        }
    }

    /// Why the router would notice the death of the node only after its hold time, in few words that do not change all the
    /// time: they go into the node's Lease.
    const fn cause(&self) -> &'static str {
        match self {
            Self::Up(_) => "",
            Self::NotHeard => "it speaks BFD, but does not hear the node",
            Self::AdminDown => "BFD is shut down in its configuration",
            Self::Silent => "it does not speak BFD with the node",
            Self::Elsewhere(_) => "it does not speak BFD with the node, but another address does",
            Self::Refused(_) => "the node refuses its BFD packets; events and /state of the node's agent say why",
            Self::PortTaken(_) => "another program on the node has the port of BFD",
            Self::BeyondLimit => "there are more routers than one node speaks BFD with",
            Self::NotRunning => "bfd-speaker does not run on the node",
        }
    }

    /// What the node's Lease says of the router.
    fn notices(&self) -> Notices {
        match self {
            Self::Up(after) => Notices::AfterMilliseconds(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
            _ => Notices::AfterHoldTime(self.cause().to_owned()),
        }
    }

    /// A sentence about the router.
    #[must_use]
    pub fn sentence(&self, router: &str) -> String {
        let late = format!("the router {router} would notice this node's death after its BGP hold time");
        match self {
            Self::Up(after) => {
                format!("the router {router} would notice this node's death after {} s", after.as_secs_f64())
            }
            Self::NotHeard => format!(
                "{late}: it speaks BFD, but does not hear this node's answers; let UDP ports 3784 and 4784 out in the node's firewall and in Calico's HostEndpoints, and into the router"
            ),
            Self::AdminDown => format!("{late}: BFD is shut down in its configuration"),
            Self::Silent => format!("{late}: it does not speak BFD with this node"),
            Self::Elsewhere(address) => format!(
                "{late}: it does not speak BFD with this node, but {address} does, which no BGPPeer names; if that is the same router, set `update-source {router}` there, or name {address} in the BGPPeer"
            ),
            Self::Refused(why) => format!("{late}: its last BFD packet was refused, because {why}"),
            Self::PortTaken(error) => format!("{late}: {error}"),
            Self::BeyondLimit => format!("{late}: there are more routers than one node speaks BFD with"),
            Self::NotRunning => format!("{late}: bfd-speaker does not run on this node"),
        }
    }
}

/// The session that is Up. A router that goes over to the other port has two for a moment.
pub(super) fn up(peer: &PeerReport) -> Option<&SessionReport> {
    peer.sessions.iter().find(|session| session.state == State::Up)
}

/// The session whose state changed last.
pub(super) fn latest(peer: &PeerReport) -> Option<&SessionReport> {
    peer.sessions.iter().max_by_key(|session| session.since_microseconds)
}

/// Whether the program that wrote the report still runs; `now` is of the clock of the report.
#[must_use]
pub fn is_fresh(report: &Report, now: Duration) -> bool {
    let age = now.saturating_sub(Duration::from_micros(report.written_at_microseconds));
    report.stopped_at_microseconds.is_none() && age < FRESH
}

/// An address, with its interface if it has one.
#[must_use]
pub fn name(address: IpAddr, interface: Option<&str>) -> String {
    interface.map_or_else(|| address.to_string(), |interface| format!("{address}%{interface}"))
}

/// A peer in `/state`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerEntry {
    /// Its address.
    pub address: IpAddr,
    /// Its interface, if it matters.
    pub interface: Option<String>,
    /// What is known of it, in one word.
    pub state: &'static str,
    /// After how long it notices the death of this node; nothing if it waits for the hold time of BGP.
    pub would_notice_after_seconds: Option<f64>,
    /// The same as a sentence.
    pub why: String,
    /// What the node's Lease says of it.
    #[serde(skip)]
    pub report: RouterReport,
}

impl PeerEntry {
    fn new(address: IpAddr, interface: Option<String>, status: &Status) -> Self {
        let after = if let Status::Up(after) = status { Some(after.as_secs_f64()) } else { None };
        let router = name(address, interface.as_deref());
        let why = status.sentence(&router);
        let report = RouterReport { router, notices: status.notices() };
        Self { address, interface, state: status.word(), would_notice_after_seconds: after, why, report }
    }
}

/// All peers: those of the report, and those that the agent wants and the report does not have. A report that is not
/// fresh does not count.
#[must_use]
pub fn entries(wanted: Option<&Wanted>, report: Option<&Report>) -> Vec<PeerEntry> {
    let reported = report.map(|report| report.peers.as_slice()).unwrap_or_default();
    let known = |wanted: &&WantedPeer| {
        !reported.iter().any(|peer| (peer.address, &peer.interface) == (wanted.address, &wanted.interface))
    };
    let wanted = wanted.map(|wanted| wanted.peers.as_slice()).unwrap_or_default();
    let missing = wanted.iter().filter(known).map(|peer| {
        let beyond = report.is_some_and(|report| report.peers_beyond_limit.contains(&peer.address));
        let status = match report {
            None => Status::NotRunning,
            Some(_) if beyond => Status::BeyondLimit,
            // Its next report has it.
            Some(_) => Status::Silent,
        };
        PeerEntry::new(peer.address, peer.interface.clone(), &status)
    });
    let reported = reported.iter().filter_map(|peer| {
        let status = Status::new(peer, report?);
        Some(PeerEntry::new(peer.address, peer.interface.clone(), &status))
    });
    reported.chain(missing).collect()
}

#[cfg(test)]
pub(super) mod testing {
    //! Reports for tests.

    use serde_json::{Value, json};

    use super::*;

    /// A session on port 3784.
    pub fn session(more: &Value) -> Value {
        let mut session = json!({
            "hops": "single", "state": "Up", "sinceMicroseconds": 1, "remoteState": "Up", "localDiscriminator": 1,
            "remoteDiscriminator": 2, "diagnostic": 0, "lastLostDiagnostic": 0, "remoteDiagnostic": 0, "multiplier": 3,
            "desiredMinTxMicroseconds": 50_000, "requiredMinRxMicroseconds": 50_000, "remoteMultiplier": 3,
            "remoteDesiredMinTxMicroseconds": 300_000, "remoteRequiredMinRxMicroseconds": 300_000,
            "transmitIntervalMicroseconds": 300_000, "detectionTimeMicroseconds": 900_000,
            "remoteDetectionTimeMicroseconds": 900_000, "ups": 1, "downs": 0, "sent": 7, "received": 8
        });
        session.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        session
    }

    /// A report with one peer, 192.0.2.1.
    pub fn report(sessions: &[Value], error: Option<&str>) -> Report {
        serde_json::from_value(json!({
            "version": 1, "writtenAtMicroseconds": 1_000_000, "scheduling": "short", "sources": [], "strangers": 0,
            "ports": [{"port": 3784, "family": "IPv4", "error": error}, {"port": 4784, "family": "IPv4"}],
            "peers": [{"address": "192.0.2.1", "role": "passive", "sources": ["agent"], "refused": 0, "sessions": sessions}]
        }))
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::testing::{report, session};
    use super::*;

    const LATE: &str = "the router 192.0.2.1 would notice this node's death after its BGP hold time: ";

    #[rstest]
    #[case(&[session(&json!({}))], None, "up", "the router 192.0.2.1 would notice this node's death after 0.9 s")]
    #[case(&[], None, "silent", "it does not speak BFD with this node")]
    #[case(&[session(&json!({"state": "Down", "remoteState": "Down"}))], None, "silent", "it does not speak BFD with this node")]
    #[case(&[session(&json!({"state": "Init", "remoteState": "Down"}))], None, "notHeard", "it speaks BFD, but does not hear this node's answers")]
    #[case(&[session(&json!({"state": "Down", "remoteState": "AdminDown"}))], None, "adminDown", "BFD is shut down in its configuration")]
    #[case(&[], Some("cannot open UDP port 3784"), "portTaken", "cannot open UDP port 3784")]
    #[case(&[session(&json!({"state": "Down"})), session(&json!({"hops": "multi"}))], None, "up", "after 0.9 s")]
    fn each_peer_has_a_sentence(
        #[case] sessions: &[Value],
        #[case] error: Option<&str>,
        #[case] word: &str,
        #[case] sentence: &str,
    ) {
        let entries = entries(None, Some(&report(sessions, error)));
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].state, word);
        assert!(entries[0].why.contains(sentence), "{}", entries[0].why);
        assert_eq!(word == "up", !entries[0].why.starts_with(LATE));
        // What the Lease says is short and does not change all the time.
        match &entries[0].report.notices {
            Notices::AfterMilliseconds(after) => assert_eq!((word, *after), ("up", 900)),
            Notices::AfterHoldTime(cause) => assert!(word != "up" && !cause.is_empty() && cause.len() < 120),
        }
    }

    #[test]
    fn packets_from_another_address_of_the_router_are_reported() {
        let mut report = report(&[], None);
        report.last_stranger = Some("2001:db8::1".parse().unwrap());
        assert_eq!(entries(None, Some(&report))[0].state, "silent");
        report.last_stranger = Some("192.0.2.254".parse().unwrap());
        let [entry] = entries(None, Some(&report)).try_into().unwrap();
        assert_eq!(entry.state, "otherAddress");
        assert!(entry.why.contains("set `update-source 192.0.2.1` there, or name 192.0.2.254"), "{}", entry.why);
    }

    #[test]
    fn a_peer_without_a_report_has_one_too() {
        let wanted = Wanted::new(vec![WantedPeer::new("192.0.2.7".parse().unwrap())]);
        let entries = entries(Some(&wanted), None);
        assert_eq!(entries[0].why, format!("{}bfd-speaker does not run on this node", LATE.replace("2.1", "2.7")));
    }

    #[test]
    fn an_old_report_is_not_fresh() {
        let mut report = report(&[], None);
        assert!(is_fresh(&report, Duration::from_secs(20)));
        assert!(!is_fresh(&report, Duration::from_secs(30)));
        report.stopped_at_microseconds = Some(1);
        assert!(!is_fresh(&report, Duration::from_secs(2)));
    }
}
