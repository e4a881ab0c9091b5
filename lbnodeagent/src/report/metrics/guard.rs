//! Series of the VIP guard and of kube-proxy.

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};
use runtime::metrics::gauge;

use crate::model::service_proxy::KubeProxy;

/// The series.
#[derive(Debug, Clone)]
pub struct GuardMetrics {
    /// Addresses that let in nothing but the ports of their Services.
    pub addresses: IntGauge,
    /// 1 while another program has removed kube-proxy's rules.
    pub proxy_rules_gone: IntGauge,
    proxy: IntGaugeVec,
}

impl GuardMetrics {
    /// Registers them.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let name = "purelb_lbnodeagent_kube_proxy_state";
        let proxy = IntGaugeVec::new(Opts::new(name, "1 for whether kube-proxy is on this node"), &["state"])?;
        registry.register(Box::new(proxy.clone()))?;
        let metrics = Self {
            addresses: gauge(
                registry,
                "purelb_lbnodeagent_vip_guard_addresses",
                "Addresses that let in nothing but the ports of their Services",
            )?,
            proxy_rules_gone: gauge(
                registry,
                "purelb_lbnodeagent_kube_proxy_rules_gone",
                "1 while another program has removed kube-proxy's rules",
            )?,
            proxy,
        };
        metrics.set_proxy(KubeProxy::Unknown);
        Ok(metrics)
    }

    /// Shows whether kube-proxy is here.
    pub fn set_proxy(&self, state: KubeProxy) {
        let present = match state {
            KubeProxy::Unknown => "unknown",
            KubeProxy::Here(_) => "here",
            KubeProxy::Gone => "gone",
        };
        for state in ["unknown", "here", "gone"] {
            self.proxy.with_label_values(&[state]).set(i64::from(state == present));
        }
    }
}
