//! Tests against Debian's FRR, in network namespaces of their own.
//!
//! They need root and the programs `ip`, `nft`, `setpriv`, `vtysh`, `zebra` and `bfdd`; without them they fail. Nothing
//! outside of the namespaces is touched. Namespaces have no names and end with the test's threads; programs are ended when
//! a test ends, also when it fails.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod faults;
mod files;
mod lab;
mod reports;
mod restarts;
mod router;
mod sessions;
mod speaker;
