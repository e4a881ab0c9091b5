//! The agent's series (specification, api.md 7).

pub mod announced;
pub mod guard;
pub mod ownership;
mod registration;

use nix::errno::Errno;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use runtime::metrics::{ClientMetrics, counter, gauge};
use runtime::write::WriteCounter;

use self::announced::Announced;
use self::guard::GuardMetrics;
use self::ownership::OwnershipMetrics;
use self::registration::counters;
use crate::cluster::configuration::Mode;
use crate::model::operation::{Operation, Purpose};

/// All series of the agent.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `purelb_k8s_client_*` and `purelb_election_lease_healthy`.
    pub client: ClientMetrics,
    /// Writes to the API server.
    pub writes: WriteCounter,
    /// Renewals of the own Lease.
    pub renewals: IntCounter,
    /// Renewals that failed.
    pub renewal_failures: IntCounter,
    /// When it was last renewed, in seconds since 1970.
    pub renewed: IntGauge,
    /// Live members.
    pub members: IntGauge,
    /// Distinct subnets of the live members.
    pub subnets: IntGauge,
    /// Subnets that this node advertises.
    pub local_subnets: IntGauge,
    /// Preferred nodes existed, none of them eligible.
    pub affinity_fallback: IntCounterVec,
    /// 1 for every address that this node announces.
    pub announced: Announced,
    selector_state: IntGaugeVec,
    /// Gratuitous ARP sent.
    pub garp_sent: IntCounter,
    /// Gratuitous ARP not sent.
    pub garp_errors: IntCounter,
    /// Unsolicited neighbour advertisements sent.
    pub na_sent: IntCounter,
    /// Unsolicited neighbour advertisements not sent.
    pub na_errors: IntCounter,
    /// Addresses put on an interface.
    pub additions: IntCounter,
    /// Addresses taken off an interface.
    pub withdrawals: IntCounter,
    /// Lifetimes renewed.
    pub address_renewals: IntCounter,
    /// Lifetimes not renewed.
    pub address_renewal_errors: IntCounter,
    /// Addresses put back after somebody else had removed them.
    pub repairs: IntCounter,
    /// Local addresses that became this node's.
    pub wins: IntCounter,
    /// Local addresses that became another node's.
    pub losses: IntCounter,
    /// Entries of other nodes replaced in the announcing annotation.
    pub slot_steals: IntCounterVec,
    /// 1 while the state files cannot be written.
    pub record_unwritable: IntGauge,
    /// Those of the VIP guard.
    pub guard: GuardMetrics,
    /// Those of the protocol for local addresses.
    pub ownership: OwnershipMetrics,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When series of these names are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let count = |name: &str, help: &str| counter(registry, name, help);
        let level = |name: &str, help: &str| gauge(registry, name, help);
        let counters = |name: &str, help: &str, labels: &[&str]| counters(registry, name, help, labels);
        let gauges = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            let vec = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(vec.clone()))?;
            Ok(vec)
        };
        let announced = Announced::new()?;
        registry.register(Box::new(announced.clone()))?;
        Ok(Self {
            client: ClientMetrics::new(registry)?,
            writes: WriteCounter::new(registry)?,
            renewals: count("purelb_election_lease_renewals_total", "Renewals of the own Lease")?,
            renewal_failures: count(
                "purelb_election_lease_renewal_failures_total",
                "Renewals of the own Lease that failed",
            )?,
            renewed: level(
                "purelb_election_lease_renewed_timestamp_seconds",
                "When the own Lease was last renewed, in seconds since 1970; 0 before the first time",
            )?,
            members: level("purelb_election_member_count", "Live members")?,
            subnets: level("purelb_election_subnet_count", "Distinct subnets of the live members")?,
            local_subnets: level("purelb_election_local_subnet_count", "Subnets that this node advertises")?,
            affinity_fallback: counters(
                "purelb_election_affinity_fallback_total",
                "Preferred nodes existed, none of them eligible",
                &["service"],
            )?,
            announced,
            selector_state: gauges(
                "purelb_lbnodeagent_selector_state",
                "1 for the state of the configuration",
                &["state"],
            )?,
            garp_sent: count("purelb_lbnodeagent_garp_sent_total", "Gratuitous ARP sent, a request and a reply each")?,
            garp_errors: count("purelb_lbnodeagent_garp_errors_total", "Gratuitous ARP not sent")?,
            na_sent: count("purelb_lbnodeagent_na_sent_total", "Unsolicited neighbour advertisements sent")?,
            na_errors: count("purelb_lbnodeagent_na_errors_total", "Unsolicited neighbour advertisements not sent")?,
            additions: count("purelb_lbnodeagent_address_additions_total", "Addresses put on an interface")?,
            withdrawals: count("purelb_lbnodeagent_address_withdrawals_total", "Addresses taken off an interface")?,
            address_renewals: count("purelb_lbnodeagent_address_renewals_total", "Lifetimes renewed")?,
            address_renewal_errors: count("purelb_lbnodeagent_address_renewal_errors_total", "Lifetimes not renewed")?,
            repairs: count(
                "purelb_lbnodeagent_address_repairs_total",
                "Addresses put back after somebody else had removed them",
            )?,
            wins: count("purelb_lbnodeagent_election_wins_total", "Local addresses that became this node's")?,
            losses: count("purelb_lbnodeagent_election_losses_total", "Local addresses that became another node's")?,
            slot_steals: counters(
                "purelb_lbnodeagent_announce_slot_steal_total",
                "Entries of other nodes replaced in the announcing annotation",
                &["from", "to"],
            )?,
            record_unwritable: level(
                "purelb_lbnodeagent_record_unwritable",
                "1 while the directory of the state files cannot be written",
            )?,
            guard: GuardMetrics::new(registry)?,
            ownership: OwnershipMetrics::new(registry)?,
        })
    }

    /// Counts an operation of the kernel and its outcome.
    pub fn count_operation(&self, operation: &Operation, result: Result<(), Errno>) {
        match (operation, result) {
            (Operation::Put(_, Purpose::Add), Ok(())) => self.additions.inc(),
            (Operation::Put(_, Purpose::Renew), Ok(())) => self.address_renewals.inc(),
            (Operation::Put(_, Purpose::Renew), Err(_)) => self.address_renewal_errors.inc(),
            (Operation::Delete(_), Ok(())) => self.withdrawals.inc(),
            _ => {}
        }
    }

    /// Shows the state of the configuration.
    pub fn set_mode(&self, mode: &Mode) {
        for state in Mode::STATES {
            self.selector_state.with_label_values(&[state]).set(i64::from(state == mode.state()));
        }
        if mode.config().is_some() {
            self.client.config_loaded.set(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_contracts() {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.set_mode(&Mode::Deselected);
        let families = registry.gather();
        assert!(families.iter().all(|family| family.name().starts_with("purelb_")));
        let state = families.iter().find(|family| family.name() == "purelb_lbnodeagent_selector_state").unwrap();
        assert_eq!(state.get_metric().len(), 4);
    }
}
