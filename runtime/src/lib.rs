//! What both programs share: their connection to the API server, their logs, metrics and events.
//!
//! | Module | Holds |
//! |---|---|
//! | [`log`] | the log: one JSON object per line on standard output |
//! | [`signal`] | the signals that stop the program gracefully |
//! | [`client`] | the client of the API server |
//! | [`watch`] | watches that never end and back off after errors |
//! | [`scrape`] | metrics that are computed when somebody asks for them |
//! | [`server`] | the HTTP server of `/metrics`, `/healthz` and `/readyz` |
//! | [`memory`] | returning freed memory to the system |
//! | [`metrics`] | the metrics that both programs export |
//! | [`process`] | the standard metrics `process_*` |
//! | [`events`] | Kubernetes events: queued, limited in rate, with repeats counted |
//! | [`leader`] | leader election with one Lease |
//! | [`write`] | outcomes of writes to the API server: the next step, and the metric |
//! | [`webhooks`] | which webhooks may keep the API server from answering |
//! | [`backoff`] | growing delays with jitter |
//! | [`clock`] | a clock that does not stop while the machine is suspended |
//! | [`task`] | tasks that end with their owner |

pub mod backoff;
pub mod client;
pub mod clock;
pub mod events;
pub mod leader;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod process;
pub mod scrape;
pub mod server;
pub mod signal;
pub mod task;
pub mod watch;
pub mod webhooks;
pub mod write;

pub use clock::BootTime;
pub use task::Task;
