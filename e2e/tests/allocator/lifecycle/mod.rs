//! Services and groups from their creation to their deletion.

mod groups;
mod services;
