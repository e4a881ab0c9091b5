//! The state file that says for which Services this node has put addresses into its kernel.
//!
//! It has one line for each address, with the UIDs of the Services, and lies beside the record of addresses, which an
//! earlier release reads. Whether an address is ours is decided elsewhere; this file only tells a Service from a later
//! one of the same name, or from a copy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::model::uids::Uids;
use crate::plan::record::replace;

/// The Services for which this node has put addresses into its kernel.
#[derive(Debug)]
pub struct Holders {
    path: PathBuf,
    uids: BTreeMap<IpAddr, Uids>,
    changed: bool,
}

impl Holders {
    /// Reads the file. Lines that cannot be understood are ignored.
    #[must_use]
    pub fn load(directory: &Path) -> Self {
        let path = directory.join("services");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        Self { path, uids: text.lines().filter_map(parse).collect(), changed: false }
    }

    /// The UIDs of the Services for which each address was put here.
    #[must_use]
    pub const fn uids(&self) -> &BTreeMap<IpAddr, Uids> {
        &self.uids
    }

    /// Sets the UIDs of the Services that have the address here now. Without any, it is forgotten.
    pub fn set(&mut self, address: IpAddr, uids: Uids) {
        let before = if uids.is_empty() { self.uids.remove(&address) } else { self.uids.insert(address, uids) };
        self.changed |= before.as_ref() != self.uids.get(&address);
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
        for (address, uids) in &self.uids {
            let _ = write!(text, "{address}");
            for uid in uids.iter() {
                let _ = write!(text, " {uid}");
            }
            text.push('\n');
        }
        replace(&self.path, &text)?;
        self.changed = false;
        Ok(())
    }
}

fn parse(line: &str) -> Option<(IpAddr, Uids)> {
    let mut parts = line.split_whitespace();
    let address = parts.next()?.parse().ok()?;
    let uids: Uids = parts.map(Box::from).collect();
    (!uids.is_empty()).then_some((address, uids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_read_back() {
        let directory = std::env::temp_dir().join(format!("lbnodeagent-holders-{}", std::process::id()));
        let (one, two): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let mut holders = Holders::load(&directory);
        assert!(holders.uids().is_empty());
        holders.set(one, ["a".into(), "b".into()].into());
        holders.set(two, ["c".into()].into());
        holders.save().unwrap();
        let mut read = Holders::load(&directory);
        assert_eq!(read.uids(), holders.uids());
        read.set(one, Uids::default());
        read.save().unwrap();
        assert_eq!(Holders::load(&directory).uids().keys().copied().collect::<Vec<IpAddr>>(), [two]);
        std::fs::write(directory.join("services"), "nonsense a\n192.0.2.1\n192.0.2.2 a a\n").unwrap();
        assert_eq!(Holders::load(&directory).uids.len(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
