//! Node selectors of LBNodeAgents.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use thiserror::Error;

/// Labels of the node.
pub type Labels = BTreeMap<String, String>;

/// Why a node selector cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// An operator that does not exist.
    #[error("nodeSelector: {operator:?} is no operator: use In, NotIn, Exists or DoesNotExist")]
    Operator {
        /// As written.
        operator: String,
    },
    /// `In` and `NotIn` need values; `Exists` and `DoesNotExist` must have none.
    #[error("nodeSelector: operator {operator} of key {key:?} {rule}")]
    Values {
        /// The operator.
        operator: String,
        /// The label's key.
        key: String,
        /// What is expected.
        rule: &'static str,
    },
}

/// Whether the selector selects a node with these labels.
///
/// # Errors
/// When the selector breaks the rules of the API; it then selects nothing.
pub fn selects(selector: &LabelSelector, labels: &Labels) -> Result<bool, SelectorError> {
    let mut selected = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    for expression in selector.match_expressions.iter().flatten() {
        let values = expression.values.as_deref().unwrap_or_default();
        let invalid = |rule| {
            Err(SelectorError::Values { operator: expression.operator.clone(), key: expression.key.clone(), rule })
        };
        let value = labels.get(&expression.key);
        let holds = match expression.operator.as_str() {
            "In" | "NotIn" if values.is_empty() => return invalid("needs values"),
            "Exists" | "DoesNotExist" if !values.is_empty() => return invalid("takes no values"),
            "In" => value.is_some_and(|value| values.contains(value)),
            // A node without the label is selected (Kubernetes API conventions).
            "NotIn" => value.is_none_or(|value| !values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => return Err(SelectorError::Operator { operator: expression.operator.clone() }),
        };
        selected &= holds;
    }
    Ok(selected)
}
