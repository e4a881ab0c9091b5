//! Tests of the index against a simulated API server.

mod model;
mod rows;
mod server;
