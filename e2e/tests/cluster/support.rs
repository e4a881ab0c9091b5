//! What the tests need again and again: that of all tests on the real cluster.

pub(crate) use e2e::testing::*;
