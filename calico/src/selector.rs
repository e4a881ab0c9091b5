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

mod expression;
mod parser;
mod tokens;

pub use self::expression::{MAX_DEPTH, MAX_LENGTH, SelectorError};

use self::expression::Expression;
use crate::labels::Labels;

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
