//! Rules about the repository itself: its imports, its dependencies, its programs and its manifests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod dependencies;
mod imports;
mod manifests;
mod programs;
