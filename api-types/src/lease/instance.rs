//! Which agent writes the Lease, and what counts only while it does.

use k8s_openapi::api::coordination::v1::Lease;

/// Annotation: the UID of the agent's pod.
pub const INSTANCE: &str = "purelb.io/instance";

/// What an annotation of the form `TEXT INSTANCE` says, if the instance is the Lease's present one.
pub(super) fn said<'a>(lease: &'a Lease, annotation: &str) -> Option<&'a str> {
    said_by(lease, annotation, lease.metadata.annotations.as_ref()?.get(INSTANCE)?)
}

/// What an annotation of the form `TEXT IDENTITY` says, if this is the identity.
pub(super) fn said_by<'a>(lease: &'a Lease, annotation: &str, identity: &str) -> Option<&'a str> {
    let (text, by) = lease.metadata.annotations.as_ref()?.get(annotation)?.rsplit_once(' ')?;
    (by == identity).then_some(text)
}
