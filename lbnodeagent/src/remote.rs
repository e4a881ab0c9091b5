//! Remote addresses: the dummy interface and the addresses on it.
//!
//! | Module | Holds |
//! |---|---|
//! | [`addresses`] | the desired addresses, and applying a plan for them |
//! | [`aggregates`] | aggregates beside host routes |
//! | [`dummy`] | the dummy interface |

pub mod addresses;
pub mod aggregates;
pub mod dummy;
