//! Programs with bad habits that share a cluster with ours, as people have them: each does one thing for ever.
//!
//! | File | Habit |
//! |---|---|
//! | `operator` | what all have in common: the Services they work on, rounds, the end |
//! | `random` | the order in which they take the Services, from a seed |
//! | `annotations` | deletes every annotation that it did not write |
//! | `whole_objects` | rewrites the whole object from an old copy; applies an exported manifest with force |
//! | `status` | copies the status of one Service to another |
//! | `types` | changes the type to `ClusterIP` and back |
//! | `groups` | edits the ranges of a `ServiceGroup` |
//! | `our_writes` | counts what our programs write meanwhile |

pub(crate) mod annotations;
pub(crate) mod groups;
pub(crate) mod operator;
pub(crate) mod our_writes;
mod random;
pub(crate) mod status;
pub(crate) mod types;
pub(crate) mod whole_objects;
