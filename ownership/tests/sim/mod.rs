//! A simulated network of nodes, each with a kernel that answers for itself and an agent that runs the machine.
#![allow(dead_code, missing_docs)]

pub mod measure;
pub mod network;
pub mod world;

pub use world::{Family, Setup, World};
