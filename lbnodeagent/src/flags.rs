//! The command line and the environment (specification, api.md 8).

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use api_types::names;
use clap::Parser;
use ownership::this_node::PROBE_INTERVALS;

use crate::kube_proxy::task::Ports;

/// Announces the addresses of `LoadBalancer` Services on this node.
#[derive(Debug, Clone, Parser)]
#[command(name = "lbnodeagent", version, about)]
pub struct Flags {
    /// Port of /metrics, /healthz, /readyz and /state.
    #[arg(long, default_value_t = 7472)]
    pub port: u16,
    /// Address to listen on; all if absent.
    #[arg(long, env = "PURELB_HOST", value_parser = host)]
    pub host: Option<IpAddr>,
    /// The kubeconfig for the API server; a pod needs none.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace that the load balancer is installed in.
    #[arg(long, env = "PURELB_NAMESPACE")]
    pub namespace: String,
    /// The name of this node.
    #[arg(long, env = "PURELB_NODE_NAME")]
    pub node_name: String,
    /// The UID of this pod.
    #[arg(long, env = "PURELB_POD_UID", default_value = "")]
    pub pod_uid: String,
    /// UDP port of the gossip between the agents. The others learn it from this node's Lease.
    #[arg(long, env = "PURELB_GOSSIP_PORT", default_value_t = 7475, value_parser = clap::value_parser!(u16).range(1..))]
    pub gossip_port: u16,
    /// The time between two probes of an address before it is claimed, and how long to wait for an answer to
    /// the last; 5 ms to 100 ms. There are three probes, or five under alarm, so a longer interval delays each
    /// claim by three to five times the difference. It is meant for networks on which a host may take longer to
    /// answer ARP.
    #[arg(long, env = "PURELB_PROBE_INTERVAL", default_value = "10ms", value_parser = probe_interval)]
    pub probe_interval: Duration,
    /// Probes and announcements that takeovers send on an interface in any second, at most.
    #[arg(long, env = "PURELB_FRAMES_PER_SECOND", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(5..=20_000))]
    pub frames_per_second: u32,
    /// Accepted for users of earlier releases, without effect: the time is part of the protocol.
    #[arg(long, env = "PURELB_LEASE_DURATION", hide = true)]
    pub lease_duration: Option<String>,
    /// Accepted for users of earlier releases, without effect.
    #[arg(long, env = "PURELB_RENEW_DEADLINE", hide = true)]
    pub renew_deadline: Option<String>,
    /// Accepted for users of earlier releases, without effect.
    #[arg(long, env = "PURELB_RETRY_PERIOD", hide = true)]
    pub retry_period: Option<String>,
    /// `PureLB` if Services without a class are ours.
    #[arg(long, env = "DEFAULT_ANNOUNCER", default_value = "")]
    pub default_announcer: String,
    /// How long addresses outlive this program, as `180s` or `3m`; at least 60 s.
    #[arg(long, env = "PURELB_STOP_GRACE", default_value = "180s", value_parser = grace)]
    pub stop_grace: Duration,
    /// Port on loopback of kube-proxy's metrics, where it says its mode.
    #[arg(long, env = "PURELB_KUBE_PROXY_METRICS_PORT", default_value_t = Ports::default().metrics)]
    pub kube_proxy_metrics_port: u16,
    /// Port on loopback of kube-proxy's health.
    #[arg(long, env = "PURELB_KUBE_PROXY_HEALTH_PORT", default_value_t = Ports::default().health)]
    pub kube_proxy_health_port: u16,
    /// Directory of the record of our addresses, for kernels that cannot mark them (before Linux 5.18).
    #[arg(long, env = "PURELB_RUN_DIR", default_value = "/run/purelb")]
    pub run_dir: PathBuf,
}

impl Flags {
    /// Whether Services without a class are ours.
    #[must_use]
    pub fn is_default_announcer(&self) -> bool {
        self.default_announcer == names::DEFAULT_ANNOUNCER
    }
}

/// Parses an address. An IPv6 address may be in brackets.
fn host(text: &str) -> Result<IpAddr, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| format!("{text:?} is no IP address"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: kube::core::Duration = text.parse().map_err(|error| format!("{text:?} is no duration: {error}"))?;
    if duration.is_negative() { Err(format!("{text:?} is negative")) } else { Ok(duration.into()) }
}

fn grace(text: &str) -> Result<Duration, String> {
    Ok(duration(text)?.max(Duration::from_secs(60)))
}

fn probe_interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if PROBE_INTERVALS.contains(&interval) {
        Ok(interval)
    } else {
        Err(format!("{text:?} is not between {:?} and {:?}", PROBE_INTERVALS.start(), PROBE_INTERVALS.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Flags, clap::Error> {
        Flags::try_parse_from(["lbnodeagent", "--namespace=purelb", "--node-name=n1"].iter().chain(more))
    }

    #[test]
    fn defaults() {
        let flags = parse(&[]).unwrap();
        assert_eq!((flags.port, flags.host, flags.stop_grace), (7472, None, Duration::from_secs(180)));
        assert_eq!(flags.frames_per_second, 2000);
        assert_eq!((flags.gossip_port, flags.probe_interval), (7475, ownership::this_node::PROBE_INTERVAL));
        assert_eq!((flags.kube_proxy_metrics_port, flags.kube_proxy_health_port), (10_249, 10_256));
        assert!(!flags.is_default_announcer());
    }

    #[test]
    fn values() {
        let flags =
            parse(&["--host=[::1]", "--stop-grace=3m", "--default-announcer=PureLB", "--lease-duration=10s"]).unwrap();
        assert_eq!((flags.host, flags.stop_grace), (Some("::1".parse().unwrap()), Duration::from_secs(180)));
        assert!(flags.is_default_announcer());
        assert_eq!(parse(&["--stop-grace=1s"]).unwrap().stop_grace, Duration::from_secs(60));
        assert_eq!(parse(&["--gossip-port=65535"]).unwrap().gossip_port, 65_535);
        assert!(["0", "65536", "-1", "gossip"].iter().all(|port| parse(&[&format!("--gossip-port={port}")]).is_err()));
        assert_eq!(parse(&["--probe-interval=0.1s"]).unwrap().probe_interval, Duration::from_millis(100));
        for interval in ["0", "4ms", "101ms", "-10ms", "10", "often"] {
            assert!(parse(&[&format!("--probe-interval={interval}")]).is_err(), "{interval}");
        }
        assert!(parse(&["--host=nowhere"]).is_err());
        assert!(parse(&["--stop-grace=soon"]).is_err());
    }
}
