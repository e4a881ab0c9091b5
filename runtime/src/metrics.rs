//! The metrics that both programs export (specification, api.md 7).

use prometheus::{IntCounter, IntGauge, Registry};

/// The metrics `purelb_k8s_client_*` and `purelb_election_lease_healthy`.
#[derive(Debug, Clone)]
pub struct ClientMetrics {
    /// Work items processed.
    pub updates: IntCounter,
    /// Work items that failed.
    pub update_errors: IntCounter,
    /// 1 once the first configuration has been accepted.
    pub config_loaded: IntGauge,
    /// 1 while the Lease of this program can be read and written.
    pub lease_healthy: IntGauge,
}

impl ClientMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// Metrics of these names are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            updates: counter(registry, "purelb_k8s_client_updates_total", "Work items processed")?,
            update_errors: counter(registry, "purelb_k8s_client_update_errors_total", "Work items that failed")?,
            config_loaded: gauge(
                registry,
                "purelb_k8s_client_config_loaded_bool",
                "1 once the first configuration has been accepted",
            )?,
            lease_healthy: gauge(
                registry,
                "purelb_election_lease_healthy",
                "1 while the Lease of this program can be read and written",
            )?,
        })
    }
}

/// Registers a counter.
///
/// # Errors
/// The name is registered already, or not valid.
pub fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// Registers a gauge.
///
/// # Errors
/// The name is registered already, or not valid.
pub fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}
