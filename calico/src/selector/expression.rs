//! What a selector means, and what is wrong with a text that is none.

use thiserror::Error;

use crate::labels::Labels;

/// A selector must not be longer, in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;

/// Parentheses must not be deeper.
pub const MAX_DEPTH: usize = 32;

/// Why a text is no selector. Positions are bytes from the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// Longer than [`MAX_LENGTH`].
    #[error("it has more than {MAX_LENGTH} bytes")]
    Long,
    /// Deeper than [`MAX_DEPTH`].
    #[error("its parentheses are more than {MAX_DEPTH} deep")]
    Deep,
    /// A string without an end.
    #[error("the string that begins at {0} has no closing quote")]
    OpenString(usize),
    /// Something else belongs here.
    #[error("expected {expected} at {position}")]
    Expected {
        /// What belongs here.
        expected: &'static str,
        /// Where.
        position: usize,
    },
}

/// The label that Calico itself gives to what is in a namespace.
const NAMESPACE: &str = "projectcalico.org/namespace";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    All,
    Global,
    Has(String),
    Compare(String, Comparison),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal(String),
    NotEqual(String),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Expression {
    pub(super) fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::All => true,
            Self::Global => !labels.contains_key(NAMESPACE),
            Self::Has(label) => labels.contains_key(label),
            Self::Compare(label, comparison) => comparison.holds(labels.get(label).map(String::as_str)),
            Self::Not(inner) => !inner.holds(labels),
            Self::And(all) => all.iter().all(|each| each.holds(labels)),
            Self::Or(all) => all.iter().any(|each| each.holds(labels)),
        }
    }
}

impl Comparison {
    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |all: &[String], value: &str| all.iter().any(|each| each == value);
        match self {
            Self::Equal(text) => value == Some(text),
            Self::NotEqual(text) => value != Some(text),
            Self::Contains(text) => value.is_some_and(|value| value.contains(text)),
            Self::StartsWith(text) => value.is_some_and(|value| value.starts_with(text)),
            Self::EndsWith(text) => value.is_some_and(|value| value.ends_with(text)),
            Self::In(all) => value.is_some_and(|value| listed(all, value)),
            Self::NotIn(all) => value.is_none_or(|value| !listed(all, value)),
        }
    }
}
