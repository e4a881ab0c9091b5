//! The object `BGPFilter`: which routes a node announces to a router.

use ipnetwork::IpNetwork;
use serde_json::{Map, Value};

/// The kind of the object.
pub const KIND: &str = "BGPFilter";
/// Its plural, in paths of the API.
pub const PLURAL: &str = "bgpfilters";

/// The fields of a rule that are understood here. A rule with others may hold for fewer routes than it seems.
const UNDERSTOOD: [&str; 5] = ["action", "cidr", "matchOperator", "prefixLength", "source"];

/// The rules for what a node announces to a router.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BgpFilter {
    export: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    accept: bool,
    /// The network, and how a route relates to it.
    cidr: Option<(IpNetwork, Relation)>,
    /// The least and the greatest prefix length.
    lengths: (u8, u8),
    ipv4: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Equal,
    NotEqual,
    In,
    NotIn,
}

impl BgpFilter {
    /// Reads the `spec`. Rules that are not understood are left out: they decide nothing here.
    #[must_use]
    pub fn new(spec: &Value) -> Self {
        let rules = |field: &str, ipv4: bool| {
            let rules = spec.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
            rules.iter().filter_map(Value::as_object).filter_map(|rule| Rule::new(rule, ipv4)).collect::<Vec<_>>()
        };
        Self { export: [rules("exportV4", true), rules("exportV6", false)].concat() }
    }

    /// Whether a route that the node has learned from another node is announced to the router; nothing if no rule decides.
    ///
    /// # Examples
    /// ```
    /// let filter = calico::BgpFilter::new(&serde_json::json!({"exportV4": [
    ///     {"cidr": "192.0.2.0/24", "matchOperator": "In", "source": "RemotePeers", "action": "Reject"}
    /// ]}));
    /// assert_eq!(filter.passes_on("192.0.2.7/32".parse().unwrap()), Some(false));
    /// assert_eq!(filter.passes_on("198.51.100.7/32".parse().unwrap()), None);
    /// ```
    #[must_use]
    pub fn passes_on(&self, route: IpNetwork) -> Option<bool> {
        self.export.iter().find(|rule| rule.holds_for(route)).map(|rule| rule.accept)
    }
}

impl Rule {
    fn new(rule: &Map<String, Value>, ipv4: bool) -> Option<Self> {
        let text = |field: &str| rule.get(field).and_then(Value::as_str);
        let understood = rule.keys().all(|field| UNDERSTOOD.contains(&field.as_str()));
        if !understood || text("source").is_some_and(|source| source != "RemotePeers") {
            return None;
        }
        let cidr = match (text("cidr"), text("matchOperator")) {
            (None, _) => None,
            (Some(cidr), operator) => {
                let relation = match operator? {
                    "Equal" => Relation::Equal,
                    "NotEqual" => Relation::NotEqual,
                    "In" => Relation::In,
                    "NotIn" => Relation::NotIn,
                    _ => return None,
                };
                Some((cidr.parse::<IpNetwork>().ok()?, relation))
            }
        };
        let length = |end: &str| {
            let value = rule.get("prefixLength").and_then(|lengths| lengths.get(end)).and_then(Value::as_u64);
            value.and_then(|value| u8::try_from(value).ok())
        };
        let accept = match text("action")? {
            "Accept" => true,
            "Reject" => false,
            _ => return None,
        };
        Some(Self { accept, cidr, lengths: (length("min").unwrap_or(0), length("max").unwrap_or(u8::MAX)), ipv4 })
    }

    fn holds_for(&self, route: IpNetwork) -> bool {
        let (least, greatest) = self.lengths;
        let relates = self.cidr.is_none_or(|(network, relation)| {
            let within = network.prefix() <= route.prefix() && network.contains(route.network());
            let equal = network.prefix() == route.prefix() && network.network() == route.network();
            match relation {
                Relation::Equal => equal,
                Relation::NotEqual => !equal,
                Relation::In => within,
                Relation::NotIn => !within,
            }
        });
        self.ipv4 == route.is_ipv4() && (least..=greatest).contains(&route.prefix()) && relates
    }
}
