//! The values that all parts of the agent speak of. They are pure data, without sockets, clocks or files.
//!
//! | Module | Holds |
//! |---|---|
//! | [`address`] | an address in the kernel: its key and its attributes |
//! | [`link`] | interfaces and default routes |
//! | [`observed`] | the kernel's state as last heard |
//! | [`ours`] | the one answer to the question whether an address in the kernel is ours |
//! | [`placement`] | where on this node an address goes |
//! | [`candidacy`] | this node's candidacy for a local address |
//! | [`operation`] | one change of the kernel's addresses, and its failure |
//! | [`writer`] | who writes to which interfaces |

pub mod address;
pub mod candidacy;
pub mod link;
pub mod observed;
pub mod operation;
pub mod ours;

pub mod placement;
#[cfg(test)]
pub(crate) mod testing;
pub mod writer;
