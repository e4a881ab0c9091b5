//! A valid LBNodeAgent.

use std::time::Duration;

use regex_lite::Regex;
use thiserror::Error;

use crate::bfd::{BfdConfig, BfdConfigError};
use crate::interface_name::is_interface_name;
use crate::lb_node_agent::{
    AgentLocalSpec, ConflictDetection, FailureDetection, GarpConfig, InterfaceAddressConfig, ProxyFailure, VipGuard,
};
use crate::names::DUMMY_INTERFACE;

/// Why an LBNodeAgent is refused. The text is shown in the event `ConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AgentConfigError {
    /// The pattern is not a regular expression.
    #[error("localInterface {pattern:?} is not a regular expression: {why}")]
    Pattern {
        /// The text.
        pattern: String,
        /// The message of the parser.
        why: String,
    },
    /// Linux accepts no interface of this name.
    #[error(
        "{field} {name:?} is not an interface name: write 1 to 15 characters without slash, colon and blank, and not \".\" or \"..\""
    )]
    InterfaceName {
        /// Path of the field below `spec.local`.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// The fields of both versions are set, with different values.
    #[error("{v2} {v2_value:?} and {v1} {v1_value:?} contradict each other: remove one of them")]
    Contradiction {
        /// The field of version v2.
        v2: &'static str,
        /// Its value.
        v2_value: String,
        /// The field of version v1.
        v1: &'static str,
        /// Its value.
        v1_value: String,
    },
    /// The settings of BFD cannot be used.
    #[error(transparent)]
    Bfd(#[from] BfdConfigError),
}

/// Where local addresses may go.
#[derive(Debug, Clone)]
pub enum InterfaceChoice {
    /// The interfaces that carry the node's internal addresses, and those of its default routes.
    DefaultRoute,
    /// All interfaces of which a name matches, in the order of their names.
    Matching(Regex),
}

impl PartialEq for InterfaceChoice {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::DefaultRoute, Self::DefaultRoute) => true,
            (Self::Matching(one), Self::Matching(two)) => one.as_str() == two.as_str(),
            _ => false,
        }
    }
}

/// The attributes with which an address is added to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressAttributes {
    /// Valid lifetime in seconds, at least 60. `None` means permanent.
    pub valid_lifetime: Option<u32>,
    /// Preferred lifetime in seconds, at most the valid lifetime. `None` means permanent.
    pub preferred_lifetime: Option<u32>,
    /// Whether the kernel leaves out the connected route of the address (`IFA_F_NOPREFIXROUTE`).
    pub no_prefix_route: bool,
}

impl AddressAttributes {
    /// The built-in attributes of local addresses: 300 s, no connected route.
    pub const LOCAL: Self = Self { valid_lifetime: Some(300), preferred_lifetime: Some(300), no_prefix_route: true };
    /// The built-in attributes of remote addresses: permanent, with the connected route.
    pub const REMOTE: Self = Self { valid_lifetime: None, preferred_lifetime: None, no_prefix_route: false };

    fn new(config: Option<&InterfaceAddressConfig>, default: Self) -> Self {
        let Some(config) = config else { return default };
        // 0 means permanent. Values from 1 to 59 are raised to 60 (specification, api.md 3).
        let lifetime = |seconds: i64| {
            let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX - 1).min(u32::MAX - 1);
            (seconds > 0).then(|| seconds.max(60))
        };
        let valid_lifetime = config.valid_lifetime.map_or(default.valid_lifetime, lifetime);
        let preferred_lifetime = match (valid_lifetime, config.preferred_lifetime) {
            (None, _) => None,
            (valid, None) => valid,
            // A preferred lifetime of 0 means a deprecated address, not a permanent one.
            (Some(valid), Some(preferred)) => Some(u32::try_from(preferred.max(0)).unwrap_or(u32::MAX).min(valid)),
        };
        Self {
            valid_lifetime,
            preferred_lifetime,
            no_prefix_route: config.no_prefix_route.unwrap_or(default.no_prefix_route),
        }
    }
}

/// When gratuitous ARP and unsolicited neighbour advertisements are sent after an address was claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcements {
    /// The time of each, counted from the claim. An empty schedule means that none are sent.
    pub schedule: Vec<Duration>,
    /// Whether the user turned them off. The agent then warns, because other hosts keep the old owner in their caches.
    pub disabled: bool,
    /// Whether the agent checks before each that this node still owns the address.
    pub verify: bool,
}

impl Default for Announcements {
    /// At 0, 0.1, 0.5, 2 and 10 s (ownership, section 3).
    fn default() -> Self {
        let schedule = [0, 100, 500, 2_000, 10_000].map(Duration::from_millis).to_vec();
        Self { schedule, disabled: false, verify: true }
    }
}

impl Announcements {
    fn new(config: &GarpConfig) -> Self {
        if !config.enabled {
            return Self { schedule: Vec::new(), disabled: true, verify: true };
        }
        // A duration that is not valid counts as the default (specification, api.md 3).
        let initial = go_duration(&config.initial_delay).unwrap_or(Duration::from_millis(100));
        let interval = go_duration(&config.interval).unwrap_or(Duration::from_millis(500));
        let count = u32::try_from(config.count.clamp(1, 10)).unwrap_or(1);
        let schedule = (0..count).map(|nth| initial.saturating_add(interval.saturating_mul(nth))).collect();
        Self { schedule, disabled: false, verify: config.verify_before_send }
    }
}

/// Parses a Go duration. Returns `None` if it is not valid or negative.
fn go_duration(text: &str) -> Option<Duration> {
    let duration: kube::core::Duration = text.parse().ok()?;
    (!duration.is_negative()).then(|| Duration::from(duration))
}

/// The configuration of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentConfig {
    /// Where local addresses may go.
    pub local_interface: InterfaceChoice,
    /// Further interfaces for local addresses by exact name, tried in this order.
    pub interfaces: Vec<String>,
    /// The interface for remote addresses.
    pub dummy_interface: String,
    /// Attributes of local addresses.
    pub local: AddressAttributes,
    /// Attributes of remote addresses.
    pub remote: AddressAttributes,
    /// When an address is announced to its neighbours.
    pub announcements: Announcements,
    /// What to do when a foreign host answers for an address.
    pub conflict_detection: ConflictDetection,
    /// How soon a silent node is believed gone.
    pub failure_detection: FailureDetection,
    /// Whether addresses of Services let in nothing but the ports of these Services.
    pub vip_guard: VipGuard,
    /// What becomes of addresses here while kube-proxy fails.
    pub proxy_failure: ProxyFailure,
    /// Which routers are answered by BFD, and how.
    pub bfd: BfdConfig,
}

impl Default for AgentConfig {
    /// The configuration of a node that no LBNodeAgent selects.
    fn default() -> Self {
        Self {
            local_interface: InterfaceChoice::DefaultRoute,
            interfaces: Vec::new(),
            dummy_interface: DUMMY_INTERFACE.to_owned(),
            local: AddressAttributes::LOCAL,
            remote: AddressAttributes::REMOTE,
            announcements: Announcements::default(),
            conflict_detection: ConflictDetection::default(),
            failure_detection: FailureDetection::default(),
            vip_guard: VipGuard::default(),
            proxy_failure: ProxyFailure::default(),
            bfd: BfdConfig::default(),
        }
    }
}

impl AgentConfig {
    /// Validates a specification.
    ///
    /// # Errors
    /// The first reason why the configuration cannot be used.
    pub fn new(spec: &AgentLocalSpec) -> Result<Self, AgentConfigError> {
        let choice =
            either(("localInterface", spec.local_interface.as_deref()), ("localint", spec.localint.as_deref()))?;
        let local_interface =
            match choice.unwrap_or_default() {
                "" | "default" => InterfaceChoice::DefaultRoute,
                pattern => InterfaceChoice::Matching(Regex::new(pattern).map_err(|error| {
                    AgentConfigError::Pattern { pattern: pattern.to_owned(), why: error.to_string() }
                })?),
            };
        let dummy =
            either(("dummyInterface", spec.dummy_interface.as_deref()), ("extlbint", spec.extlbint.as_deref()))?;
        let dummy_interface = match dummy.unwrap_or_default() {
            "" => DUMMY_INTERFACE,
            name => interface_name("dummyInterface", name)?,
        };
        let interfaces = spec.interfaces.as_deref().unwrap_or_default();
        for name in interfaces {
            interface_name("interfaces", name)?;
        }
        let address_config = spec.address_config.clone().unwrap_or_default();
        let announcements = match (&spec.garp_config, spec.sendgarp) {
            (Some(config), _) => Announcements::new(config),
            // `sendgarp: false` is the default of version v1, so it does not show that the user turned them off.
            (None, _) => Announcements::default(),
        };
        Ok(Self {
            local_interface,
            interfaces: interfaces.to_vec(),
            dummy_interface: dummy_interface.to_owned(),
            local: AddressAttributes::new(address_config.local_interface.as_ref(), AddressAttributes::LOCAL),
            remote: AddressAttributes::new(address_config.dummy_interface.as_ref(), AddressAttributes::REMOTE),
            announcements,
            conflict_detection: spec.conflict_detection.unwrap_or_default(),
            failure_detection: spec.failure_detection.unwrap_or_default(),
            vip_guard: spec.vip_guard.unwrap_or_default(),
            proxy_failure: spec.proxy_failure.unwrap_or_default(),
            bfd: spec.bfd.as_ref().map_or_else(|| Ok(BfdConfig::default()), BfdConfig::new)?,
        })
    }
}

/// The value of a setting that has a field in each version.
fn either<'a>(
    (v2, v2_value): (&'static str, Option<&'a str>),
    (v1, v1_value): (&'static str, Option<&'a str>),
) -> Result<Option<&'a str>, AgentConfigError> {
    match (v2_value, v1_value) {
        (Some(v2_value), Some(v1_value)) if v2_value != v1_value => Err(AgentConfigError::Contradiction {
            v2,
            v2_value: v2_value.to_owned(),
            v1,
            v1_value: v1_value.to_owned(),
        }),
        (v2_value, v1_value) => Ok(v2_value.or(v1_value)),
    }
}

/// Returns the name if Linux accepts it as the name of an interface.
fn interface_name<'a>(field: &'static str, name: &'a str) -> Result<&'a str, AgentConfigError> {
    if is_interface_name(name) {
        Ok(name)
    } else {
        Err(AgentConfigError::InterfaceName { field, name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(spec: serde_json::Value) -> Result<AgentConfig, AgentConfigError> {
        AgentConfig::new(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn an_empty_specification_means_the_defaults() {
        assert_eq!(config(json!({})).unwrap(), AgentConfig::default());
        assert_eq!(
            config(json!({"localInterface": "default", "dummyInterface": "kube-lb0"})).unwrap(),
            AgentConfig::default()
        );
        assert_eq!(
            config(json!({"localint": "default", "extlbint": "kube-lb0", "sendgarp": false})).unwrap(),
            AgentConfig::default()
        );
    }

    #[test]
    fn lifetimes_have_a_floor_and_a_cap() {
        let attributes = |valid: i64, preferred: Option<i64>| {
            config(
                json!({"addressConfig": {"localInterface": {"validLifetime": valid, "preferredLifetime": preferred}}}),
            )
            .unwrap()
            .local
        };
        assert_eq!(attributes(1, None).valid_lifetime, Some(60));
        assert_eq!(
            attributes(0, Some(10)),
            AddressAttributes { valid_lifetime: None, preferred_lifetime: None, no_prefix_route: true }
        );
        assert_eq!(attributes(100, Some(1000)).preferred_lifetime, Some(100));
        assert_eq!(attributes(i64::MAX, None).valid_lifetime, Some(u32::MAX - 1));
    }

    #[test]
    fn announcements_follow_their_configuration() {
        let garp = config(json!({"garpConfig": {"count": 2, "interval": "1.5s", "initialDelay": "soon"}})).unwrap();
        assert_eq!(garp.announcements.schedule, [100, 1600].map(Duration::from_millis));
        assert!(config(json!({"garpConfig": {"enabled": false}})).unwrap().announcements.disabled);
    }

    #[test]
    fn foreign_hosts_are_respected_unless_configured_otherwise() {
        for (value, expected) in [
            (json!(null), ConflictDetection::Enforce),
            (json!("Enforce"), ConflictDetection::Enforce),
            (json!("Warn"), ConflictDetection::Warn),
            (json!("Disabled"), ConflictDetection::Disabled),
            (json!("Off"), ConflictDetection::Disabled),
        ] {
            let config = config(json!({"conflictDetection": value})).unwrap();
            assert_eq!(config.conflict_detection, expected, "{value}");
        }
        // The API server refuses anything else by the schema.
        let unknown: Result<AgentLocalSpec, _> = serde_json::from_value(json!({"conflictDetection": "off"}));
        assert!(unknown.is_err());
    }

    #[test]
    fn the_guard_follows_kube_proxy_unless_configured_otherwise() {
        for (value, expected) in [
            (json!(null), VipGuard::Auto),
            (json!("Auto"), VipGuard::Auto),
            (json!("Enabled"), VipGuard::Enabled),
            (json!("Disabled"), VipGuard::Disabled),
        ] {
            assert_eq!(config(json!({"vipGuard": value})).unwrap().vip_guard, expected, "{value}");
        }
    }

    #[test]
    fn bad_names_and_patterns_are_refused() {
        for bad in [
            json!({"localInterface": "eth[0"}),
            json!({"dummyInterface": "a-name-that-is-too-long"}),
            json!({"dummyInterface": "a/b"}),
            json!({"interfaces": ["eth0", ""]}),
            json!({"localInterface": "eth0", "localint": "eth1"}),
            json!({"bfd": {"multiplier": 0}}),
        ] {
            assert!(config(bad.clone()).is_err(), "{bad}");
        }
    }
}
