//! The object `BGPConfiguration` with the name `default`: what holds for all nodes.

use serde_json::Value;

use crate::as_number::as_number;

/// The kind of the object.
pub const KIND: &str = "BGPConfiguration";
/// Its plural, in paths of the API.
pub const PLURAL: &str = "bgpconfigurations";
/// The name of the object that holds for all nodes.
pub const DEFAULT: &str = "default";

/// The AS number of nodes unless something else is configured.
const DEFAULT_AS_NUMBER: u32 = 64512;

/// What holds for all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BgpConfiguration {
    /// Whether each node peers with all others.
    pub mesh: bool,
    /// The AS number of the nodes.
    pub as_number: u32,
}

impl Default for BgpConfiguration {
    fn default() -> Self {
        Self { mesh: true, as_number: DEFAULT_AS_NUMBER }
    }
}

impl BgpConfiguration {
    /// Reads the `spec`. What it does not say is as without the object.
    #[must_use]
    pub fn new(spec: &Value) -> Self {
        let mesh = spec.get("nodeToNodeMeshEnabled").and_then(Value::as_bool);
        let number = spec.get("asNumber").and_then(as_number);
        let default = Self::default();
        Self { mesh: mesh.unwrap_or(default.mesh), as_number: number.unwrap_or(default.as_number) }
    }
}
