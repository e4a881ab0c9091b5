//! What the conditions of Services and of groups have in common.

use k8s_openapi::jiff::Timestamp;

/// The time as conditions give it: the API has whole seconds only.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Joins the first items, and says how many more there are.
pub(super) fn join_first(items: impl IntoIterator<Item = String>, most: usize, separator: &str) -> String {
    let mut items: Vec<String> = items.into_iter().collect();
    let more = items.len().saturating_sub(most);
    items.truncate(most);
    if more > 0 {
        items.push(format!("and {more} more"));
    }
    items.join(separator)
}
