//! What kube-proxy says of itself on its ports: a task of its own, so that a kube-proxy that does not answer delays nobody.
//!
//! | Module | Holds |
//! |---|---|
//! | [`task`] | the looks, one after the other |
//! | `page` | a page of an HTTP server on this node |

mod page;
pub mod task;
