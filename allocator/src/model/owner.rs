//! Who holds what an IPAM sidecar gave.

use std::fmt;
use std::sync::Arc;

use super::service::{Leftover, Service, ServiceName};

/// A Service and the UID of its object: a Service that is made anew under its name is another owner. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Namespace and name.
    pub name: ServiceName,
    /// The UID of the object. Empty if an older release of the allocator did not record it.
    pub uid: Arc<str>,
}

impl Owner {
    /// From its parts.
    #[must_use]
    pub fn new(name: &ServiceName, uid: &str) -> Self {
        Self { name: name.clone(), uid: uid.into() }
    }

    /// The first of all owners of this name.
    #[must_use]
    pub fn first(name: &ServiceName) -> Self {
        Self::new(name, "")
    }
}

impl From<&Service> for Owner {
    fn from(service: &Service) -> Self {
        Self::new(&service.name, &service.uid)
    }
}

impl From<&Leftover> for Owner {
    fn from(leftover: &Leftover) -> Self {
        Self::new(&leftover.name, &leftover.uid)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}
