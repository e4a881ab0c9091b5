//! Series that both programs export (specification, api.md 7).

use prometheus::{IntCounter, IntGauge, Registry};

/// `purelb_k8s_client_*`.
#[derive(Debug, Clone)]
pub struct ClientMetrics {
    /// Work items processed.
    pub updates: IntCounter,
    /// Work items that failed.
    pub update_errors: IntCounter,
    /// 1 once the first configuration has been accepted.
    pub config_loaded: IntGauge,
    /// 1 while the own lease is good.
    pub lease_healthy: IntGauge,
}

impl ClientMetrics {
    /// Registers the series.
    ///
    /// # Errors
    /// When series of these names are registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            updates: counter(registry, "purelb_k8s_client_updates_total", "Work items processed")?,
            update_errors: counter(registry, "purelb_k8s_client_update_errors_total", "Work items that failed")?,
            config_loaded: gauge(
                registry,
                "purelb_k8s_client_config_loaded_bool",
                "1 once the first configuration has been accepted",
            )?,
            lease_healthy: gauge(registry, "purelb_election_lease_healthy", "1 while the own lease is good")?,
        })
    }
}

/// Registers a counter.
///
/// # Errors
/// When the name is taken or none.
pub fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

/// Registers a gauge.
///
/// # Errors
/// When the name is taken or none.
pub fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}
