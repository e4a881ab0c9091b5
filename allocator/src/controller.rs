//! The edge to the API server: watches feed the index, its patches are sent, answers go back in.
//!
//! | Part | Does |
//! |---|---|
//! | `sources` | the watches, as one stream of inputs |
//! | `writer` | sends one patch, with the fence before and a deadline over it |
//! | `run` | the loop that joins them |

mod run;
mod sources;
mod writer;

pub use run::{Controller, Parts, Settings};
