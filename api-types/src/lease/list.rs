//! The lists in the annotations of a Lease.

use k8s_openapi::api::coordination::v1::Lease;

/// The entries of an annotation, without the blanks around them. An absent annotation has no entries.
pub(super) fn entries<'a>(lease: &'a Lease, annotation: &str) -> impl Iterator<Item = &'a str> {
    let text = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(annotation));
    text.into_iter().flat_map(|text| text.split(',')).map(str::trim)
}

/// The value of an annotation with these entries.
pub(super) fn join(entries: impl Iterator<Item = String>) -> String {
    entries.collect::<Vec<_>>().join(",")
}

/// A Lease with one annotation.
#[cfg(test)]
pub(super) fn lease_with(annotation: &str, value: &str) -> Lease {
    let mut lease = Lease::default();
    lease.metadata.annotations = Some([(annotation.to_owned(), value.to_owned())].into());
    lease
}
