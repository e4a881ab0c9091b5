//! What of an LBNodeAgent its status depends on.

use api_types::{AgentConfig, LBNodeAgent, LBNodeAgentSpec, LBNodeAgentStatus, Unreadable, Watched};
use kube::Resource;

use crate::cluster::selector::{Labels, selects};

/// Whether the settings of an LBNodeAgent can be used. That depends on the object alone, so every agent of a release comes
/// to the same conclusion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validity {
    /// They can be used.
    Valid,
    /// Only an edit mends them; the sentence says what is wrong.
    Invalid(String),
    /// This release cannot read them; a later one may. The sentence says what is wrong.
    Unreadable(String),
}

impl Validity {
    fn of(spec: &LBNodeAgentSpec) -> Self {
        let selector = spec.node_selector.clone().unwrap_or_default();
        if let Err(error) = selects(&selector, &Labels::new()) {
            return Self::Invalid(error.to_string());
        }
        match spec.local.as_ref().map(AgentConfig::new) {
            Some(Err(error)) => Self::Invalid(error.to_string()),
            _ => Self::Valid,
        }
    }
}

/// What of an LBNodeAgent its status depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentObject {
    /// Its UID, as the precondition of a write.
    pub uid: String,
    /// The generation of its specification.
    pub generation: i64,
    /// Whether its settings can be used.
    pub validity: Validity,
    /// Its status.
    pub status: Option<LBNodeAgentStatus>,
}

impl AgentObject {
    /// Reads an object, whose specification was read or not.
    #[must_use]
    pub fn new(watched: &Watched<LBNodeAgent>, spec: Result<&LBNodeAgentSpec, &Unreadable>) -> Self {
        let validity = match spec {
            Ok(spec) => Validity::of(spec),
            Err(problem) => Validity::Unreadable(problem.to_string()),
        };
        let metadata = watched.meta();
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            validity,
            status: watched.status(),
        }
    }
}
