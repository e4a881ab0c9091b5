//! Which agent writes the Lease.

/// Annotation: the UID of the agent's pod.
pub const INSTANCE: &str = "purelb.io/instance";
