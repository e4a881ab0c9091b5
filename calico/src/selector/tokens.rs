//! The words of a selector.

use super::expression::SelectorError;

/// A label's name must not be longer, in bytes.
const MAX_LABEL: usize = 512;

/// Characters that are skipped. Calico itself knows only blank and tab; a text of several lines is clear all the same.
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// The rest of a text, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut tokens = Self { text, position: 0 };
        tokens.skip_blanks();
        tokens
    }

    pub(super) const fn is_end(&self) -> bool {
        self.text.is_empty()
    }

    pub(super) const fn expected<T>(&self, expected: &'static str) -> Result<T, SelectorError> {
        Err(SelectorError::Expected { expected, position: self.position })
    }

    fn skip_blanks(&mut self) {
        let rest = self.text.trim_start_matches(BLANKS);
        self.position += self.text.len() - rest.len();
        self.text = rest;
    }

    fn advance(&mut self, bytes: usize) -> Option<&'a str> {
        let (word, rest) = self.text.split_at_checked(bytes)?;
        self.position += bytes;
        self.text = rest;
        self.skip_blanks();
        Some(word)
    }

    /// Takes these words, with any number of blanks between them, or nothing.
    pub(super) fn take(&mut self, words: &[&str]) -> bool {
        let before = *self;
        for word in words {
            if !self.text.starts_with(word) || self.advance(word.len()).is_none() {
                *self = before;
                return false;
            }
        }
        true
    }

    /// Takes the name of a label.
    pub(super) fn label(&mut self) -> Option<&'a str> {
        let fine = |c: char| c.is_ascii_alphanumeric() || ['_', '.', '/', '-'].contains(&c);
        let end = self.text.find(|c| !fine(c)).unwrap_or(self.text.len());
        (1..=MAX_LABEL).contains(&end).then(|| self.advance(end)).flatten()
    }

    /// Takes a string. `None`: here is none.
    pub(super) fn string(&mut self) -> Result<Option<&'a str>, SelectorError> {
        let Some(quote) = self.text.chars().next().filter(|c| ['\'', '"'].contains(c)) else { return Ok(None) };
        let open = SelectorError::OpenString(self.position);
        // The text after the quote, with its blanks.
        let (_, rest) = self.text.split_at_checked(1).ok_or(open.clone())?;
        let length = rest.find(quote).ok_or(open.clone())?;
        let (value, _) = rest.split_at_checked(length).ok_or(open)?;
        self.advance(length + 2);
        Ok(Some(value))
    }
}
