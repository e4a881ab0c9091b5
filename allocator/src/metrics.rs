//! The series of the allocator (specification, api.md 7).

use std::time::Duration;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use runtime::metrics::{counter, gauge};

use crate::judge::Count;

/// All series of the allocator itself.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `address_pool_size`.
    pub pool_size: GaugeVec,
    /// `address_pool_addresses_in_use`.
    pub pool_in_use: GaugeVec,
    rejected: IntCounterVec,
    multi: IntCounterVec,
    multi_partial: IntCounterVec,
    balanced: IntCounterVec,
    /// `servicegroups_out_of_scope`.
    pub out_of_scope: IntGaugeVec,
    /// `allocator_sg_status_writes_total`.
    pub status_writes: IntCounterVec,
    /// Services that want an address they do not have.
    pub pending: IntGauge,
    /// Services under watch.
    pub services: IntGauge,
    /// Writes to Services under way.
    pub in_flight: IntGauge,
    /// 1 while this replica leads.
    pub leader: IntGauge,
    /// Services found with an address that another has the better right to.
    pub duplicates: IntCounter,
    /// Services whose external addresses are still to be given back.
    pub owed: IntGaugeVec,
    /// Calls to IPAM sidecars.
    pub sidecars: SidecarMetrics,
}

/// Calls to IPAM sidecars.
#[derive(Debug, Clone)]
pub struct SidecarMetrics {
    calls: IntCounterVec,
    durations: HistogramVec,
}

impl SidecarMetrics {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let calls = IntCounterVec::new(
            Opts::new("purelb_allocator_sidecar_rpc_total", "Calls to IPAM sidecars by gRPC code"),
            &["socket", "method", "code"],
        )?;
        registry.register(Box::new(calls.clone()))?;
        let durations = HistogramVec::new(
            HistogramOpts::new("purelb_allocator_sidecar_rpc_duration_seconds", "Time until a sidecar answers"),
            &["socket", "method"],
        )?;
        registry.register(Box::new(durations.clone()))?;
        Ok(Self { calls, durations })
    }

    /// Counts one call.
    pub fn count(&self, socket: &str, method: &str, code: &str, took: Duration) {
        self.calls.with_label_values(&[socket, method, code]).inc();
        self.durations.with_label_values(&[socket, method]).observe(took.as_secs_f64());
    }
}

impl Metrics {
    /// Registers the series.
    ///
    /// # Errors
    /// When series of these names are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauges = |name: &str, help: &str| {
            let gauges = GaugeVec::new(Opts::new(name, help), &["pool"])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let out_of_scope = IntGaugeVec::new(
            Opts::new("purelb_servicegroups_out_of_scope", "1 for each ServiceGroup outside the install namespace"),
            &["namespace", "name", "type"],
        )?;
        registry.register(Box::new(out_of_scope.clone()))?;
        let owed = IntGaugeVec::new(
            Opts::new("purelb_allocator_sidecar_releases_pending", "Addresses that a sidecar has not taken back yet"),
            &["pool"],
        )?;
        registry.register(Box::new(owed.clone()))?;
        Ok(Self {
            pool_size: gauges("purelb_address_pool_size", "Addresses in the group")?,
            pool_in_use: gauges("purelb_address_pool_addresses_in_use", "Distinct addresses in use")?,
            rejected: counters(
                "purelb_address_pool_allocation_rejected_total",
                "Refused allocations",
                &["pool", "reason"],
            )?,
            multi: counters("purelb_address_pool_multipool_allocations_total", "Multi-pool allocations", &["pool"])?,
            multi_partial: counters(
                "purelb_address_pool_multipool_partial_total",
                "Multi-pool allocations in which an active range gave no address",
                &["pool"],
            )?,
            balanced: counters(
                "purelb_address_pool_balance_pools_allocations_total",
                "Addresses given by balanced choice",
                &["pool"],
            )?,
            out_of_scope,
            status_writes: counters(
                "purelb_allocator_sg_status_writes_total",
                "Writes of ServiceGroup status",
                &["outcome"],
            )?,
            pending: gauge(
                registry,
                "purelb_allocator_services_pending",
                "Services that want an address they do not have",
            )?,
            services: gauge(registry, "purelb_allocator_services", "Services of type LoadBalancer under watch")?,
            in_flight: gauge(registry, "purelb_allocator_writes_in_flight", "Writes to Services under way")?,
            leader: gauge(registry, "purelb_allocator_leader", "1 while this replica leads")?,
            duplicates: counter(
                registry,
                "purelb_allocator_duplicate_addresses_total",
                "Services found with an address that another has the better right to",
            )?,
            owed,
            sidecars: SidecarMetrics::new(registry)?,
        })
    }

    /// Counts what a verdict says.
    pub fn count(&self, count: &Count) {
        match count {
            Count::Rejected(pool, reason) => self.rejected.with_label_values(&[pool.as_str(), reason]).inc(),
            Count::Multi(pool) => self.multi.with_label_values(&[pool]).inc(),
            Count::MultiPartial(pool) => self.multi_partial.with_label_values(&[pool]).inc(),
            Count::Balanced(pool) => self.balanced.with_label_values(&[pool]).inc(),
        }
    }
}
