//! Small tools that do not depend on the lab.
//!
//! - `command`: runs programs with a deadline.
//! - `error`: the crate's error.
//! - `http`: one HTTP request.
//! - `processes`: finds processes in `/proc`.
//! - `wait`: waits for a condition.

pub(crate) mod command;
pub(crate) mod error;
pub(crate) mod http;
pub(crate) mod processes;
pub(crate) mod wait;
