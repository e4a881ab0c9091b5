//! Which LBNodeAgent applies to this node (specification, announcing.md 2).

use std::collections::BTreeMap;

use api_types::names::reason::{CONFIG_ERROR, CONFIG_IGNORED, INVALID_NODE_SELECTOR};
use api_types::{AgentConfig, LBNodeAgent, Unreadable};
use kube::ResourceExt;

use crate::cluster::selector::{Labels, selects};

/// The configuration of this node.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// No LBNodeAgent configures any node: the built-in values apply.
    Default(AgentConfig),
    /// The LBNodeAgent of this name (`namespace/name`) configures it.
    Configured(String, AgentConfig),
    /// There are LBNodeAgents, and none of them selects this node.
    Deselected,
    /// The LBNodeAgent that selects this node cannot be used.
    Invalid(String),
    /// This node's Node object was deleted: the node has left the cluster while its machine runs on.
    Gone,
}

impl Mode {
    /// The value of the label `state` of the metric `selector_state`.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match self {
            Self::Default(_) => "default",
            Self::Configured(..) => "configured",
            Self::Deselected | Self::Gone => "deselected",
            Self::Invalid(_) => "invalid",
        }
    }

    /// All values of [`Self::state`].
    pub const STATES: [&'static str; 4] = ["default", "configured", "deselected", "invalid"];

    /// The configuration; without one the node announces nothing.
    #[must_use]
    pub const fn config(&self) -> Option<&AgentConfig> {
        match self {
            Self::Default(config) | Self::Configured(_, config) => Some(config),
            Self::Deselected | Self::Invalid(_) | Self::Gone => None,
        }
    }
}

/// A message for the author of an LBNodeAgent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// Namespace and name of the LBNodeAgent.
    pub agent: (String, String),
    /// One of `InvalidNodeSelector`, `ConfigIgnored`, `ConfigError`.
    pub reason: &'static str,
    /// The message.
    pub text: String,
}

/// The message for the author of an LBNodeAgent that this build cannot read.
#[must_use]
pub fn unreadable(agent: &(String, String), problem: &Unreadable, has_earlier_form: bool) -> Notice {
    let consequence = if has_earlier_form {
        "its last readable form stays in force"
    } else {
        "it is left out, as if it did not exist"
    };
    let text = format!("{problem}; {consequence}: correct the value, or update the agents");
    Notice { agent: agent.clone(), reason: CONFIG_ERROR, text }
}

/// Chooses among all LBNodeAgents of all namespaces.
///
/// Those with a specific selector come before those that select every node, and each kind is ordered by namespace
/// and name. The first one with `spec.local` is used. Fields of several are never merged.
#[must_use]
pub fn choose<'a>(
    agents: impl IntoIterator<Item = &'a LBNodeAgent>,
    labels: &Labels,
    node: &str,
) -> (Mode, Vec<Notice>) {
    let mut notices = Vec::new();
    let mut candidates = Vec::new();
    let mut any = false;
    for agent in agents {
        any = true;
        let key = (agent.namespace().unwrap_or_default(), agent.name_any());
        let selector = agent.spec.node_selector.clone().unwrap_or_default();
        let catch_all = selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
            && selector.match_expressions.as_ref().is_none_or(Vec::is_empty);
        match selects(&selector, labels) {
            Ok(true) => candidates.push((catch_all, key, agent)),
            Ok(false) => {}
            Err(error) => notices.push(Notice { agent: key, reason: INVALID_NODE_SELECTOR, text: error.to_string() }),
        }
    }
    candidates.sort_by(|one, two| (one.0, &one.1).cmp(&(two.0, &two.1)));
    let winner = candidates.iter().find_map(|(_, key, agent)| agent.spec.local.as_ref().map(|local| (key, local)));
    let Some((winner, local)) = winner else {
        let none_here = any && candidates.is_empty();
        return (if none_here { Mode::Deselected } else { Mode::Default(AgentConfig::default()) }, notices);
    };
    let name = format!("{}/{}", winner.0, winner.1);
    for (_, key, _) in candidates.iter().filter(|(_, key, _)| key != winner) {
        let text = format!("selects node {node}, but {name} is used there");
        notices.push(Notice { agent: key.clone(), reason: CONFIG_IGNORED, text });
    }
    match AgentConfig::new(local) {
        Ok(config) => (Mode::Configured(name, config), notices),
        Err(error) => {
            let text = format!("{error}; node {node} is announcing nothing");
            notices.push(Notice { agent: winner.clone(), reason: CONFIG_ERROR, text: text.clone() });
            (Mode::Invalid(text), notices)
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn labels() -> Labels {
        [("zone", "a"), ("edge", "")].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    fn agent(name: &str, spec: &Value) -> LBNodeAgent {
        serde_json::from_value(json!({
            "apiVersion": "purelb.io/v2", "kind": "LBNodeAgent", "metadata": {"name": name, "namespace": "purelb"}, "spec": spec
        }))
        .unwrap()
    }

    fn chosen(agents: &[LBNodeAgent]) -> (String, Vec<&'static str>) {
        let (mode, notices) = choose(agents, &labels(), "n1");
        let name = if let Mode::Configured(name, _) = &mode { name.clone() } else { mode.state().to_owned() };
        (name, notices.iter().map(|notice| notice.reason).collect())
    }

    #[rstest]
    #[case(json!({}), true)]
    #[case(json!({"matchLabels": {"zone": "a"}}), true)]
    #[case(json!({"matchLabels": {"zone": "b"}}), false)]
    #[case(json!({"matchLabels": {"zone": "a"}, "matchExpressions": [{"key": "edge", "operator": "DoesNotExist"}]}), false)]
    #[case(json!({"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b", "a"]}]}), true)]
    #[case(json!({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}), false)]
    #[case(json!({"matchExpressions": [{"key": "rack", "operator": "NotIn", "values": ["a"]}]}), true)]
    #[case(json!({"matchExpressions": [{"key": "edge", "operator": "Exists"}]}), true)]
    fn selectors(#[case] selector: Value, #[case] expected: bool) {
        assert_eq!(selects(&serde_json::from_value(selector).unwrap(), &labels()), Ok(expected));
    }

    #[rstest]
    #[case(json!({"matchExpressions": [{"key": "zone", "operator": "Gt", "values": ["1"]}]}))]
    #[case(json!({"matchExpressions": [{"key": "zone", "operator": "In"}]}))]
    #[case(json!({"matchExpressions": [{"key": "zone", "operator": "Exists", "values": ["1"]}]}))]
    fn unusable_selectors(#[case] selector: Value) {
        assert!(selects(&serde_json::from_value(selector.clone()).unwrap(), &labels()).is_err());
        let broken = agent("broken", &json!({"nodeSelector": selector, "local": {}}));
        assert_eq!(chosen(&[broken]), ("deselected".to_owned(), vec!["InvalidNodeSelector"]));
    }

    #[test]
    fn without_any_the_built_in_values_apply() {
        assert_eq!(chosen(&[]).0, "default");
        assert_eq!(chosen(&[agent("empty", &json!({}))]).0, "default");
        assert_eq!(choose(&[], &labels(), "n1").0.config(), Some(&AgentConfig::default()));
    }

    #[test]
    fn specific_comes_before_catch_all_and_names_decide() {
        let all = agent("all", &json!({"local": {}}));
        let b = agent("b", &json!({"nodeSelector": {"matchLabels": {"zone": "a"}}, "local": {}}));
        let a = agent("a", &json!({"nodeSelector": {"matchLabels": {"zone": "a"}}}));
        let other = agent("other", &json!({"nodeSelector": {"matchLabels": {"zone": "x"}}, "local": {}}));
        assert_eq!(
            chosen(&[all.clone(), b, a, other.clone()]),
            ("purelb/b".to_owned(), vec!["ConfigIgnored", "ConfigIgnored"])
        );
        assert_eq!(chosen(&[all, other.clone()]), ("purelb/all".to_owned(), vec![]));
        assert_eq!(chosen(&[other]).0, "deselected");
    }

    #[test]
    fn a_refused_configuration_announces_nothing() {
        let bad = agent("bad", &json!({"local": {"localInterface": "eth[0"}}));
        let (mode, notices) = choose(&[bad], &labels(), "n1");
        assert!(mode.config().is_none());
        assert!(notices[0].text.contains("announcing nothing"));
    }
}
