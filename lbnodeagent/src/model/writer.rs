//! Who writes to which interfaces.

/// Whose interfaces a plan is about. Remote addresses are written by the agent, local ones by the
/// thread that knows who owns them ([`crate::local::thread`]); neither touches what is the other's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The interfaces for remote addresses.
    Remote,
    /// All others.
    Local,
    /// All: only one of the two is at work.
    Sole,
}
