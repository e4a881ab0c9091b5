//! What both programs share and no library gives.
//!
//! | Module | Holds |
//! |---|---|
//! | [`log`] | one JSON object per line on standard output |
//! | [`signal`] | the graceful stop |
//! | [`client`] | the connection to the API server |
//! | [`watch`] | a watch that never ends and backs off on errors |
//! | [`server`] | `/metrics`, `/healthz`, `/readyz` |
//! | [`memory`] | giving it back |
//! | [`metrics`] | series that both programs export |
//! | [`process`] | the standard `process_*` series |
//! | [`events`] | Kubernetes events: queued, limited, repeats counted |
//! | [`leader`] | leader election over one Lease |
//! | [`write`] | the outcome of a write: what to do next, how to count it |
//! | [`backoff`] | growing delays with jitter |
//! | [`clock`] | a clock that no suspension stops |
//! | [`task`] | a task that ends with its owner |

pub mod backoff;
pub mod client;
pub mod clock;
pub mod events;
pub mod leader;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod process;
pub mod server;
pub mod signal;
pub mod task;
pub mod watch;
pub mod write;

pub use clock::BootTime;
pub use task::Task;
