//! The file that remembers the default choice of interfaces for local addresses.

use std::io;
use std::path::{Path, PathBuf};

use crate::decide::default_interfaces::DefaultInterfaces;
use crate::plan::record::replace;

/// The default choice as it was last saved.
#[derive(Debug)]
pub struct InterfaceRecord {
    path: PathBuf,
    saved: DefaultInterfaces,
}

impl InterfaceRecord {
    /// Reads the file.
    #[must_use]
    pub fn load(directory: &Path) -> Self {
        let path = directory.join("interfaces");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        Self { path, saved: DefaultInterfaces::parse(&text) }
    }

    /// The choice.
    #[must_use]
    pub const fn interfaces(&self) -> &DefaultInterfaces {
        &self.saved
    }

    /// Writes the file if the choice changed.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&mut self, interfaces: &DefaultInterfaces) -> io::Result<()> {
        if self.saved == *interfaces {
            return Ok(());
        }
        replace(&self.path, &interfaces.text())?;
        self.saved = interfaces.clone();
        Ok(())
    }
}
