//! The address table: which Service holds which address, and which address is the next free one.
//!
//! | Part | Holds |
//! |---|---|
//! | `table` | every address that a Service holds, and the ranges to allocate from |
//! | `refusal` | why the holders of an address rule out one more |
//! | `intervals` | the addresses of one range that are in use, as a set of intervals |

mod intervals;
mod refusal;
mod table;

pub use refusal::Refusal;
pub use table::AddressTable;
