//! The result of a benchmark.

use std::error::Error;

/// What a step of a benchmark returns: it prints whatever went wrong, and does not look into it.
pub type BenchResult<T> = Result<T, Box<dyn Error + Send + Sync>>;
