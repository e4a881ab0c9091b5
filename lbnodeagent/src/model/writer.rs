//! Who writes to which interfaces.

/// Who makes a plan. The agent writes remote addresses, and the thread of the protocol writes local ones. Neither
/// touches the other's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The agent: only interfaces for remote addresses.
    Remote,
    /// The thread: all other interfaces.
    Local,
    /// The agent while the thread does not run: all interfaces.
    Sole,
}
