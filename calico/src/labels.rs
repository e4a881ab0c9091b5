//! Labels, and annotations, which have the same form.

/// The labels of an object.
pub type Labels = std::collections::BTreeMap<String, String>;
