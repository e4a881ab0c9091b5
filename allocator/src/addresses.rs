//! The address table: which Service holds which address, which addresses are nobody's to give, and which address is the
//! next free one.
//!
//! | Part | Holds |
//! |---|---|
//! | `table` | every address that a Service holds, and the ranges to allocate from |
//! | `freed` | addresses that were freed a short time ago |
//! | `reserved` | the addresses that no Service should be given, and whose they are |
//! | `range_use` | one range, and which of its addresses can be given |
//! | `address_set` | addresses as a few ranges |
//! | `refusal` | why a Service may not have an address |
//! | `intervals` | addresses of one range, as a set of intervals |

mod address_set;
mod freed;
mod intervals;
mod range_use;
mod refusal;
mod reserved;
mod table;

pub use address_set::AddressSet;
pub use freed::FreedAddresses;
pub use refusal::{OtherService, Refusal};
pub use reserved::ReservedFor;
pub use table::AddressTable;
