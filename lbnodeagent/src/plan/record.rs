//! The record of which addresses are ours, for kernels that cannot mark addresses (before Linux 5.18).
//!
//! It is a file with one line for each address, on a tmpfs, so that it lives as long as the addresses do. Without
//! the file no address counts as ours, and none is deleted.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;

use crate::model::address::AddressKey;

/// The addresses that we added and could not mark.
#[derive(Debug)]
pub struct Record {
    path: PathBuf,
    keys: BTreeSet<AddressKey>,
    changed: bool,
}

impl Record {
    /// Reads the file. Lines that cannot be understood are ignored.
    #[must_use]
    pub fn load(directory: &Path) -> Self {
        let path = directory.join("addresses");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        Self { path, keys: text.lines().filter_map(parse).collect(), changed: false }
    }

    /// The addresses.
    #[must_use]
    pub const fn keys(&self) -> &BTreeSet<AddressKey> {
        &self.keys
    }

    /// Adds an address.
    pub fn insert(&mut self, key: AddressKey) {
        self.changed |= self.keys.insert(key);
    }

    /// Removes an address.
    pub fn remove(&mut self, key: &AddressKey) {
        self.changed |= self.keys.remove(key);
    }

    /// Writes the file if anything changed: as a whole, or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&mut self) -> io::Result<()> {
        if !self.changed {
            return Ok(());
        }
        let mut text = String::new();
        for AddressKey { ip, index, prefix_len } in &self.keys {
            let _ = writeln!(text, "{index} {ip}/{prefix_len}");
        }
        replace(&self.path, &text)?;
        self.changed = false;
        Ok(())
    }
}

/// Writes a file as a whole, or not at all. Makes its directory if it is missing.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, path)
}

fn parse(line: &str) -> Option<AddressKey> {
    let (index, cidr) = line.split_once(' ')?;
    let network: IpNetwork = cidr.parse().ok()?;
    Some(AddressKey { ip: network.ip(), index: index.parse().ok()?, prefix_len: network.prefix() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::key;

    #[test]
    fn what_is_saved_is_read_back() {
        let directory = std::env::temp_dir().join(format!("lbnodeagent-record-{}", std::process::id()));
        let mut record = Record::load(&directory);
        assert!(record.keys().is_empty());
        record.insert(key(3, "192.0.2.1/24"));
        record.insert(key(3, "2001:db8::1/128"));
        record.insert(key(4, "192.0.2.2/32"));
        record.remove(&key(4, "192.0.2.2/32"));
        record.save().unwrap();
        assert_eq!(Record::load(&directory).keys(), record.keys());
        std::fs::write(&record.path, "nonsense\n3 192.0.2.1/24\nx 192.0.2.1/24\n").unwrap();
        assert_eq!(Record::load(&directory).keys().len(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
