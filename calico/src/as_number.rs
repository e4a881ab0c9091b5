//! AS numbers.

use serde_json::Value;

/// Reads an AS number: a number, its text, or two halves with a dot in between (RFC 5396).
///
/// # Examples
/// ```
/// let read = |value| calico::as_number::as_number(&value);
/// assert_eq!(read(serde_json::json!(64512)), Some(64512));
/// assert_eq!(read(serde_json::json!("64600.1")), Some(64600 * 65536 + 1));
/// assert_eq!(read(serde_json::json!("many")), None);
/// ```
#[must_use]
pub fn as_number(value: &Value) -> Option<u32> {
    if let Some(number) = value.as_u64() {
        return u32::try_from(number).ok();
    }
    of_text(value.as_str()?)
}

/// Reads the text of an AS number.
#[must_use]
pub fn of_text(text: &str) -> Option<u32> {
    match text.trim().split_once('.') {
        None => text.trim().parse().ok(),
        Some((high, low)) => {
            let half = |text: &str| text.parse::<u16>().ok().map(u32::from);
            Some(half(high)? << 16 | half(low)?)
        }
    }
}
