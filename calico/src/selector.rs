//! Calico's selector language, which its objects use in place of Kubernetes' label selectors.
//!
//! ```text
//! or        = and { "||" and }
//! and       = operation { "&&" operation }
//! operation = { "!" } ( "(" or ")" | "all()" | "global()" | "has(" label ")" | comparison )
//! comparison = label ( "==" | "!=" | "contains" | "starts with" | "ends with" ) string
//!            | label ( "in" | "not in" ) "{" [ string { "," string } [ "," ] ] "}"
//! string    = '...' | "..."
//! ```
//!
//! The empty text selects everything. An object without the label is selected by `!=` and `not in`, and by no other
//! comparison.

mod parser;
mod tokens;

use thiserror::Error;

use crate::Labels;

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

/// A selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Expression);

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// Says where the text stops being a selector.
    ///
    /// # Examples
    /// ```
    /// use calico::Selector;
    ///
    /// let selector = Selector::new("has(rack) && role not in {'storage', 'build'}").unwrap();
    /// assert!(selector.selects(&[("rack".to_owned(), "a".to_owned())].into()));
    /// ```
    pub fn new(text: &str) -> Result<Self, SelectorError> {
        if text.len() > MAX_LENGTH {
            return Err(SelectorError::Long);
        }
        Ok(Self(parser::parse(text)?))
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.holds(labels)
    }
}

/// The label that Calico itself gives to what is in a namespace.
const NAMESPACE: &str = "projectcalico.org/namespace";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expression {
    All,
    Global,
    Has(String),
    Compare(String, Comparison),
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Comparison {
    Equal(String),
    NotEqual(String),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
    In(Vec<String>),
    NotIn(Vec<String>),
}

impl Expression {
    fn holds(&self, labels: &Labels) -> bool {
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
