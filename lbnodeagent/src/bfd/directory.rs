//! The directory that the agent and `bfd-speaker` share, and its files.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ::bfd::report::{self, Report};
use ::bfd::wanted::{self, MAX_BYTES, Wanted, WantedPeer};
use nix::libc;

/// The group of the directory, which the pods of both programs have as a supplementary group.
const GROUP: u32 = 63_784;
/// Members of the group write, others do nothing, and new files are the group's.
const MODE: u32 = 0o2770;
/// The agent's name as a source.
const SOURCE: &str = "agent";
/// No report is longer.
const MAX_REPORT: u64 = 1024 * 1024;

/// The directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    written: Option<Wanted>,
    report: Option<Version>,
}

/// What distinguishes two versions of a file without reading them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl Directory {
    /// The directory at this path.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path, written: None, report: None }
    }

    /// The peers that an earlier run wanted.
    #[must_use]
    pub fn before(&self) -> Vec<WantedPeer> {
        let read = read(&self.file(), u64::try_from(MAX_BYTES).unwrap_or(u64::MAX));
        read.ok().and_then(|bytes| Wanted::parse(&bytes).ok()).map(|wanted| wanted.peers).unwrap_or_default()
    }

    /// Writes what is wanted, if the file does not say it.
    ///
    /// # Errors
    /// When the directory cannot be made or shared, or the file not written.
    pub fn write(&mut self, wanted: &Wanted) -> io::Result<()> {
        let file = self.file();
        if self.written.as_ref() == Some(wanted) && file.exists() {
            return Ok(());
        }
        share(&self.path)?;
        let unfinished = self.path.join(format!("{}.new", wanted::file_name(SOURCE)));
        let mut text = serde_json::to_vec_pretty(wanted)?;
        text.push(b'\n');
        // Whoever writes into the directory may have put anything there, such as a link to another file of ours.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut output = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&unfinished)?;
        output.write_all(&text)?;
        drop(output);
        fs::rename(&unfinished, &file)?;
        self.written = Some(wanted.clone());
        Ok(())
    }

    /// The report of `bfd-speaker`, if it is another one than at the last call.
    ///
    /// # Errors
    /// When it cannot be read. It is not tried again before it changes.
    pub fn report(&mut self) -> io::Result<Option<Report>> {
        let path = self.path.join(report::FILE_NAME);
        let version = fs::metadata(&path).ok().map(|found| Version {
            inode: found.ino(),
            length: found.len(),
            modified: found.modified().ok(),
        });
        if version.is_none() || version == self.report {
            return Ok(None);
        }
        self.report = version;
        let report: Report = serde_json::from_slice(&read(&path, MAX_REPORT)?)?;
        if report.version == report::VERSION {
            Ok(Some(report))
        } else {
            Err(io::Error::other(format!("it has version {}, this program reads {}", report.version, report::VERSION)))
        }
    }

    fn file(&self) -> PathBuf {
        self.path.join(wanted::file_name(SOURCE))
    }
}

/// Makes the directory, or gives the one that is there to the group. It is never replaced: pods may have mounted it.
fn share(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::metadata(path)?;
    if found.gid() != GROUP {
        // The owner may give it to a group of its own without any capability.
        std::os::unix::fs::chown(path, None, Some(GROUP))?;
    }
    if found.mode() & 0o7777 != MODE {
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    }
    Ok(())
}

/// Reads a file that another program may have written. One of another kind must not hang the agent, nor lead it elsewhere.
fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("agent-bfd-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn inode(path: &Path) -> u64 {
        fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn the_directory_is_shared_and_not_replaced() {
        let path = directory("share");
        // As the kubelet makes it.
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let before = inode(&path);
        let mut shared = Directory::new(path.clone());
        let wanted = Wanted::new(vec![WantedPeer::new("192.0.2.1".parse().unwrap())]);
        shared.write(&wanted).unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.ino(), found.gid(), found.mode() & 0o7777), (before, GROUP, MODE));
        let file = fs::metadata(shared.file()).unwrap();
        assert_eq!((file.gid(), file.mode() & 0o7777), (GROUP, 0o640));
        assert_eq!(Directory::new(path.clone()).before(), wanted.peers);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn the_file_is_replaced_only_when_it_says_something_else() {
        let path = directory("write");
        let mut shared = Directory::new(path.clone());
        let wanted = Wanted::new(Vec::new());
        shared.write(&wanted).unwrap();
        let first = inode(&shared.file());
        shared.write(&wanted).unwrap();
        assert_eq!(inode(&shared.file()), first);
        shared.write(&Wanted { shutting_down: true, ..wanted.clone() }).unwrap();
        assert_ne!(inode(&shared.file()), first);
        fs::remove_file(shared.file()).unwrap();
        shared.write(&Wanted { shutting_down: true, ..wanted }).unwrap();
        assert!(shared.file().exists());
        fs::remove_dir_all(path).unwrap();
    }

    /// Each member of the group can put anything into the directory.
    #[test]
    fn what_others_put_there_leads_nowhere_and_hangs_nothing() {
        let path = directory("hostile");
        fs::create_dir(&path).unwrap();
        let mut shared = Directory::new(path.clone());
        let victim = path.join("of-the-agent");
        fs::write(&victim, "precious").unwrap();
        let unfinished = path.join("wanted-agent.json.new");
        std::os::unix::fs::symlink(&victim, &unfinished).unwrap();
        shared.write(&Wanted::new(Vec::new())).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(fs::symlink_metadata(shared.file()).unwrap().is_file());
        for report in ["symlink", "pipe"] {
            let place = path.join(report::FILE_NAME);
            let _ = fs::remove_file(&place);
            if report == "pipe" {
                nix::unistd::mkfifo(&place, nix::sys::stat::Mode::S_IRWXU).unwrap();
                nix::unistd::mkfifo(&unfinished, nix::sys::stat::Mode::S_IRWXU).unwrap();
            } else {
                std::os::unix::fs::symlink(&victim, &place).unwrap();
            }
            assert!(shared.report().is_err(), "{report}");
        }
        shared.write(&Wanted::new(vec![WantedPeer::new("192.0.2.1".parse().unwrap())])).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_report_is_read_once() {
        let path = directory("report");
        fs::create_dir(&path).unwrap();
        let mut shared = Directory::new(path.clone());
        assert!(shared.report().unwrap().is_none());
        fs::write(path.join(report::FILE_NAME), "{").unwrap();
        assert!(shared.report().is_err());
        assert!(shared.report().unwrap().is_none());
        fs::remove_dir_all(path).unwrap();
    }
}
