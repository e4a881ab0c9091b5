//! The series of the protocol for local addresses.

use std::time::Duration;

use ownership::{ClaimReason, Notification, ProbeResult, Refusal, ReleaseReason};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Registry};
use runtime::metrics::{counter, gauge};

use super::registration::counters as labelled;

/// Bounds of the failover histogram in seconds. The goal is half a second, and one second in the worst case.
const FAILOVER: [f64; 10] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0, 5.0, 10.0];

/// The series.
#[derive(Debug, Clone)]
pub struct OwnershipMetrics {
    /// Members that do not answer and are not given up yet.
    pub suspects: IntGauge,
    /// Members whose agent is silent.
    pub silent: IntGauge,
    /// Local addresses that this node answers for.
    pub held: IntGauge,
    /// The highest epoch of its claims.
    pub highest_epoch: IntGauge,
    /// Whether the gossip port is bound.
    pub port_bound: IntGauge,
    /// Whether there are members and none of them answers.
    pub gossip_silent: IntGauge,
    /// Datagrams not sent.
    pub send_errors: IntCounter,
    /// Probes not sent.
    pub question_errors: IntCounter,
    claims: IntCounterVec,
    releases: IntCounterVec,
    probes: IntCounterVec,
    conflicts: IntCounterVec,
    alarms: IntCounter,
    pauses: IntCounter,
    moves_failed: IntCounter,
    refused: IntCounterVec,
    winner_changes: IntCounterVec,
    failover: Histogram,
}

impl OwnershipMetrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When series of these names are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let count = |name: &str, help: &str| counter(registry, name, help);
        let level = |name: &str, help: &str| gauge(registry, name, help);
        let counters = |name: &str, help: &str, label: &str| labelled(registry, name, help, &[label]);
        let failover = Histogram::with_opts(
            HistogramOpts::new(
                "purelb_election_failover_seconds",
                "From the last sign of life of an address's owner to this node's answering for it",
            )
            .buckets(FAILOVER.to_vec()),
        )?;
        registry.register(Box::new(failover.clone()))?;
        Ok(Self {
            suspects: level("purelb_election_suspect_count", "Members that do not answer and are not given up yet")?,
            silent: level("purelb_election_silent_count", "Members whose agent does not answer")?,
            held: level("purelb_election_held_count", "Local addresses that this node answers for")?,
            highest_epoch: level("purelb_election_highest_epoch", "The highest epoch of this node's claims")?,
            port_bound: level("purelb_gossip_port_bound", "1 while the gossip's UDP port is ours")?,
            gossip_silent: level(
                "purelb_gossip_silent",
                "1 while no other agent answers, so that Leases show who lives",
            )?,
            send_errors: count("purelb_gossip_send_errors_total", "Datagrams of the gossip not sent")?,
            question_errors: count("purelb_election_question_errors_total", "ARP and ND questions not sent")?,
            claims: counters("purelb_election_claims_total", "Local addresses claimed, by cause", "cause")?,
            releases: counters("purelb_election_releases_total", "Local addresses given up, by reason", "reason")?,
            probes: counters("purelb_election_probes_total", "Outcomes of asking the link before claiming", "result")?,
            conflicts: counters(
                "purelb_election_conflicts_total",
                "Other holders of a local address: foreign (we do not claim), defended (we hold it), node (a node has it from somebody else), member (two members claimed it)",
                "kind",
            )?,
            alarms: count("purelb_election_alarms_total", "Members found silent in every way on a link")?,
            pauses: count("purelb_election_pauses_total", "Times that this agent did not run for over half a second")?,
            moves_failed: count("purelb_election_moves_failed_total", "Planned moves given up and taken back")?,
            refused: counters("purelb_gossip_refused_total", "Datagrams refused, by reason", "reason")?,
            winner_changes: counters(
                "purelb_election_winner_changes_total",
                "Addresses that this node took over from another; the label is the address",
                "service",
            )?,
            failover,
        })
    }

    /// Counts a fact.
    pub fn count(&self, fact: &Notification) {
        match fact {
            Notification::Claimed { address, cause, from, without, .. } => {
                self.claims.with_label_values(&[cause_word(*cause)]).inc();
                if from.is_some() {
                    self.winner_changes.with_label_values(&[&address.to_string()]).inc();
                }
                if let Some(without) = without {
                    self.failover.observe(Duration::as_secs_f64(without));
                }
            }
            Notification::Released { why, .. } => self.releases.with_label_values(&[why_word(*why)]).inc(),
            Notification::Probed { result, .. } => self.probes.with_label_values(&[probe_word(*result)]).inc(),
            Notification::AddressConflict { defended, .. } => {
                self.conflicts.with_label_values(&[if *defended { "defended" } else { "foreign" }]).inc();
            }
            Notification::ConflictOnNode { .. } => self.conflicts.with_label_values(&["node"]).inc(),
            Notification::TwoClaims { .. } => self.conflicts.with_label_values(&["member"]).inc(),
            Notification::Alarm { .. } => self.alarms.inc(),
            Notification::Paused(_) => self.pauses.inc(),
            Notification::MoveFailed { .. } => self.moves_failed.inc(),
            Notification::Refused(refusal) => self.refused.with_label_values(&[refusal_word(*refusal)]).inc(),
            _ => {}
        }
    }
}

/// The word for the cause of a claim.
#[must_use]
pub const fn cause_word(cause: ClaimReason) -> &'static str {
    match cause {
        ClaimReason::Unclaimed => "unclaimed",
        ClaimReason::OwnerGone => "ownerGone",
        ClaimReason::AgentSilent => "agentSilent",
        ClaimReason::Move => "move",
        ClaimReason::Lost => "lost",
    }
}

/// The word for the reason of a release.
#[must_use]
pub const fn why_word(why: ReleaseReason) -> &'static str {
    match why {
        ReleaseReason::Unwanted => "unwanted",
        ReleaseReason::Moved => "moved",
        ReleaseReason::Yielded => "yielded",
        ReleaseReason::LinkBroken => "linkBroken",
        ReleaseReason::AddFailed => "addFailed",
        ReleaseReason::KernelLost => "kernelLost",
        ReleaseReason::HeldForeign => "heldForeign",
        ReleaseReason::KernelServes => "kernelServes",
    }
}

const fn probe_word(result: ProbeResult) -> &'static str {
    match result {
        ProbeResult::Free => "free",
        ProbeResult::Held => "held",
        ProbeResult::KernelServes => "kernelServes",
        ProbeResult::Foreign => "foreign",
        ProbeResult::Contention => "contention",
    }
}

const fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Oversized => "oversized",
        Refusal::Truncated => "truncated",
        Refusal::Foreign => "foreign",
        Refusal::Version => "version",
        Refusal::WrongKey => "wrongKey",
        Refusal::Forged => "forged",
        Refusal::Replayed => "replayed",
        Refusal::Reflected => "reflected",
        Refusal::Malformed => "malformed",
    }
}
