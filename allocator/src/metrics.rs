//! The metrics of the allocator (specification, api.md 7).

use std::time::Duration;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use runtime::metrics::{counter, gauge};

use crate::plan::Measurement;

/// The metrics of the allocator itself.
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
    /// Services that wait for an address.
    pub pending: IntGauge,
    /// Services of type `LoadBalancer`.
    pub services: IntGauge,
    /// Writes to Services in flight.
    pub in_flight: IntGauge,
    /// 1 while this replica leads.
    pub leader: IntGauge,
    /// Services found with an address that an older Service holds.
    pub duplicates: IntCounter,
    /// Addresses that a sidecar has not taken back yet.
    pub releases_pending: IntGaugeVec,
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
    /// Series of these names are registered already.
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
        let releases_pending = IntGaugeVec::new(
            Opts::new("purelb_allocator_sidecar_releases_pending", "Addresses that a sidecar has not taken back yet"),
            &["pool"],
        )?;
        registry.register(Box::new(releases_pending.clone()))?;
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
            releases_pending,
            sidecars: SidecarMetrics::new(registry)?,
        })
    }

    /// Removes the series of all pools. Those of present pools come back with their next refresh.
    pub fn reset_pools(&self) {
        self.pool_size.reset();
        self.pool_in_use.reset();
        self.releases_pending.reset();
    }

    /// Counts what a plan measures.
    pub fn count(&self, measurement: &Measurement) {
        match measurement {
            Measurement::Rejected(pool, reason) => self.rejected.with_label_values(&[pool.as_str(), reason]).inc(),
            Measurement::MultiPool(pool) => self.multi.with_label_values(&[pool]).inc(),
            Measurement::MultiPoolPartial(pool) => self.multi_partial.with_label_values(&[pool]).inc(),
            Measurement::Balanced(pool) => self.balanced.with_label_values(&[pool]).inc(),
        }
    }
}
