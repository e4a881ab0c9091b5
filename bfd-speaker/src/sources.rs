//! What each source wants, as last read.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bfd::peer::{self, Peer};
use bfd::report::SourceReport;
use bfd::wanted::{self, MAX_BYTES, Wanted};
use nix::libc;

use crate::log;

/// No more sources are read.
const MAX_SOURCES: usize = 8;

/// Why a file is no news.
#[derive(Debug, thiserror::Error)]
enum NoNews {
    #[error("cannot read it: {0}")]
    Io(#[from] std::io::Error),
    #[error("it is no regular file")]
    NotAFile,
    #[error(transparent)]
    Unreadable(#[from] wanted::Unreadable),
}

/// All sources, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(BTreeMap<String, Source>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    wanted: Wanted,
    error: Option<String>,
}

impl Sources {
    /// What the process before knew. What is wrong with it is left out.
    pub fn resume(before: &[SourceReport]) -> Self {
        let good = before.iter().filter(|source| source.wanted.peers().is_ok()).take(MAX_SOURCES);
        // Whether the host goes down is read anew.
        let wanted = |source: &SourceReport| Wanted { shutting_down: false, ..source.wanted.clone() };
        Self(good.map(|source| (source.name.clone(), Source { wanted: wanted(source), error: None })).collect())
    }

    /// Reads the files of the directory. What is missing or not readable stays as it was.
    pub fn read(&mut self, directory: &Path) {
        let mut names: Vec<String> = self.0.keys().cloned().collect();
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if let Some(source) = name.to_str().and_then(wanted::source)
                && !names.iter().any(|known| known == source)
            {
                names.push(source.to_owned());
            }
        }
        for name in names {
            match read(&directory.join(wanted::file_name(&name))) {
                Ok(wanted) => self.set(name, wanted),
                Err(error) => self.keep(&name, &error),
            }
        }
    }

    fn set(&mut self, name: String, wanted: Wanted) {
        if self.0.len() >= MAX_SOURCES && !self.0.contains_key(&name) {
            log!(Warn, "too many sources: this one is not read", source = name, limit = MAX_SOURCES);
            return;
        }
        let (peers, down) = (wanted.peers.len(), wanted.shutting_down);
        let source = Source { wanted, error: None };
        if self.0.get(&name) != Some(&source) {
            self.0.insert(name.clone(), source);
            log!(Info, "read what a source wants", source = name, peers = peers, shuttingDown = down);
        }
    }

    fn keep(&mut self, name: &str, error: &NoNews) {
        let text = error.to_string();
        let Some(source) = self.0.get_mut(name) else {
            // It will be read again when it changes, and every 30 s.
            log!(Warn, "cannot use the file of a source; it has no peers", source = name, error = text);
            return;
        };
        if source.error.as_ref() != Some(&text) {
            log!(
                Warn,
                "cannot use the file of a source; its peers stay as they were",
                source = name,
                error = text.clone()
            );
            source.error = Some(text);
        }
    }

    /// Each peer once, with those that want it.
    pub fn union(&self) -> Vec<(Peer, Vec<String>)> {
        let peers: Vec<(&str, Vec<Peer>)> =
            self.0.iter().map(|(name, source)| (name.as_str(), source.wanted.peers().unwrap_or_default())).collect();
        peer::union(peers.iter().map(|(name, peers)| (*name, peers.as_slice())))
    }

    /// Whether a source says that the host goes down.
    pub fn shutting_down(&self) -> bool {
        self.0.values().any(|source| source.wanted.shutting_down)
    }

    /// For the report.
    pub fn report(&self) -> Vec<SourceReport> {
        let report = |(name, source): (&String, &Source)| SourceReport {
            name: name.clone(),
            wanted: source.wanted.clone(),
            error: source.error.clone(),
        };
        self.0.iter().map(report).collect()
    }
}

fn read(path: &Path) -> Result<Wanted, NoNews> {
    // A file of another kind must not hang the reader.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(NoNews::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Wanted::parse(&bytes)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn peers(sources: &Sources) -> Vec<String> {
        sources.union().into_iter().map(|(peer, names)| format!("{} {}", peer.key.address, names.join("+"))).collect()
    }

    #[test]
    fn only_a_good_file_is_news() {
        let directory = std::env::temp_dir().join(format!("bfd-sources-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        let mut sources = Sources::default();
        sources.read(&directory);
        assert!(peers(&sources).is_empty());

        write("wanted-agent.json", r#"{"version":1,"peers":[{"address":"192.0.2.1"},{"address":"192.0.2.2"}]}"#);
        write("wanted-bgp.json", r#"{"version":1,"peers":[{"address":"192.0.2.2"}]}"#);
        write("other.json", "{}");
        sources.read(&directory);
        let good = ["192.0.2.1 agent", "192.0.2.2 agent+bgp"];
        assert_eq!(peers(&sources), good);

        for bad in ["", "{", r#"{"version":2,"peers":[]}"#, r#"{"version":1,"peers":[{"address":"0.0.0.0"}]}"#] {
            write("wanted-agent.json", bad);
            sources.read(&directory);
            assert_eq!(peers(&sources), good, "{bad}");
            assert!(sources.report()[0].error.is_some());
        }
        fs::remove_file(directory.join("wanted-agent.json")).unwrap();
        sources.read(&directory);
        assert_eq!(peers(&sources), good);
        let mut resumed = Sources::resume(&sources.report());
        resumed.read(&directory);
        assert_eq!(peers(&resumed), good);

        write("wanted-agent.json", r#"{"version":1,"shuttingDown":true,"peers":[]}"#);
        resumed.read(&directory);
        assert_eq!(peers(&resumed), ["192.0.2.2 bgp"]);
        assert!(resumed.shutting_down());
        fs::remove_dir_all(directory).unwrap();
    }
}
