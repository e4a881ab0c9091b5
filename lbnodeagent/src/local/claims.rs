//! The state file: which addresses this node holds, and under which epochs.
//!
//! It has one line for each address and lies on a tmpfs. Like the addresses in the kernel it outlives the process
//! but not the machine. A restarted agent continues with these epochs. Without the file it uses what its peers know
//! of them, or zero.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ownership::Epoch;

use crate::plan::record::replace;

/// The state file.
#[derive(Debug)]
pub struct Claims {
    path: PathBuf,
    failure_logged: bool,
}

impl Claims {
    /// The file in this directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join("claims"), failure_logged: false }
    }

    /// Reads it. Lines that cannot be understood are ignored, and a missing file counts as empty.
    #[must_use]
    pub fn load(&self) -> BTreeMap<IpAddr, Epoch> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().filter_map(parse).collect()
    }

    /// Writes it as a whole, or not at all. A failure is logged once; its only consequence is that a restart
    /// has no epochs.
    pub fn save(&mut self, claims: impl Iterator<Item = (IpAddr, Epoch)>) {
        let mut text = String::new();
        for (address, epoch) in claims {
            let _ = writeln!(text, "{address} {epoch}");
        }
        match replace(&self.path, &text) {
            Ok(()) => self.failure_logged = false,
            Err(error) if !self.failure_logged => {
                self.failure_logged = true;
                tracing::warn!(op = "claims", path = %self.path.display(), %error, "cannot write the state file");
            }
            Err(_) => {}
        }
    }
}

fn parse(line: &str) -> Option<(IpAddr, Epoch)> {
    let (address, epoch) = line.split_once(' ')?;
    Some((address.parse().ok()?, epoch.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_back() {
        let directory = std::env::temp_dir().join(format!("lbnodeagent-claims-{}", std::process::id()));
        let mut claims = Claims::new(&directory);
        assert!(claims.load().is_empty());
        let held: BTreeMap<IpAddr, Epoch> =
            [("192.0.2.1".parse().unwrap(), 7), ("2001:db8::1".parse().unwrap(), u64::MAX)].into();
        claims.save(held.clone().into_iter());
        assert_eq!(claims.load(), held);
        std::fs::write(&claims.path, "nonsense\n192.0.2.1 x\n192.0.2.2 3 4\n192.0.2.3 5\n").unwrap();
        assert_eq!(claims.load().len(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
