//! The files, on a thread of their own: a disk that is slow must not delay a packet.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bfd::Report;
use bfd::report::FILE_NAME;
use bfd::wanted;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::log;
use crate::sources::Sources;

/// Everything is read again after so many milliseconds, should a notification be missing.
const AGAIN: u16 = 30_000;

/// No report is longer.
const MAX_REPORT: u64 = 1024 * 1024;

/// What the threads share.
struct Shared {
    /// The newest report that is not written yet, and whether it is the last.
    report: Mutex<(Option<Report>, bool)>,
    /// For the thread of the files.
    work: EventFd,
    /// For the loop.
    news: EventFd,
}

/// The thread, as the loop sees it.
pub struct Files {
    shared: Arc<Shared>,
    sources: Receiver<Sources>,
    thread: Option<JoinHandle<()>>,
}

impl Files {
    /// Starts the thread. The sources are read before the loop goes on.
    ///
    /// # Errors
    /// When the system gives no descriptor or thread.
    pub fn start(directory: PathBuf, sources: Sources) -> Result<Self, std::io::Error> {
        let event = || EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let shared = Arc::new(Shared { report: Mutex::new((None, false)), work: event()?, news: event()? });
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let (send, receive) = channel();
        let thread = {
            let shared = Arc::clone(&shared);
            let worker = Worker { directory, sources, sent: None, inotify, send, shared };
            std::thread::Builder::new().name("files".to_owned()).spawn(move || worker.run())?
        };
        Ok(Self { shared, sources: receive, thread: Some(thread) })
    }

    /// Readable when [`Files::news`] has something.
    pub fn descriptor(&self) -> impl AsFd + '_ {
        &self.shared.news
    }

    /// The newest sources, if there are any that this has not returned before.
    pub fn news(&self) -> Option<Sources> {
        let _ = self.shared.news.read();
        self.sources.try_iter().last()
    }

    /// Has a report written soon.
    pub fn write(&self, report: Report) {
        self.hand_over(report, false);
    }

    /// Has the last report written, and waits for it.
    pub fn finish(mut self, report: Report) {
        self.hand_over(report, true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn hand_over(&self, report: Report, last: bool) {
        if let Ok(mut slot) = self.shared.report.lock() {
            *slot = (Some(report), last);
        }
        let _ = self.shared.work.write(1);
    }
}

struct Worker {
    directory: PathBuf,
    sources: Sources,
    sent: Option<Sources>,
    inotify: Inotify,
    send: Sender<Sources>,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self) {
        let mut failed = false;
        loop {
            let changes = AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_ATTRIB;
            // Again each time: the directory may be another one.
            let _ = self.inotify.add_watch(&self.directory, changes);
            self.read();
            if self.wait_for_sources(&mut failed) {
                return;
            }
        }
    }

    /// Writes reports until a source may have changed; `true` after the last one.
    fn wait_for_sources(&mut self, failed: &mut bool) -> bool {
        loop {
            let mut descriptors = [
                PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.shared.work.as_fd(), PollFlags::POLLIN),
            ];
            let timed_out = poll(&mut descriptors, PollTimeout::from(AGAIN)) == Ok(0);
            let _ = self.shared.work.read();
            let (report, last) = self.shared.report.lock().map_or((None, false), |mut slot| (slot.0.take(), slot.1));
            if let Some(report) = report {
                let result = write(&self.directory, &report);
                if let Err(error) = &result
                    && !*failed
                {
                    let directory = self.directory.display().to_string();
                    log!(
                        Warn,
                        "cannot write the state: a restart would lose the sessions; the directory must be writable for this program's group",
                        directory = directory,
                        error = error.to_string()
                    );
                }
                *failed = result.is_err();
            }
            if last {
                return true;
            }
            let events = self.inotify.read_events().unwrap_or_default();
            let ours = |name: &std::ffi::OsStr| name.to_str().and_then(wanted::source).is_some();
            if timed_out || events.iter().any(|event| event.name.as_deref().is_none_or(ours)) {
                return false;
            }
        }
    }

    fn read(&mut self) {
        self.sources.read(&self.directory);
        if self.sent.as_ref() != Some(&self.sources) {
            self.sent = Some(self.sources.clone());
            // The loop ends after this thread.
            let _ = self.send.send(self.sources.clone());
            let _ = self.shared.news.write(1);
        }
    }
}

/// The report of the process before, if there is a good one.
pub fn read_report(directory: &Path) -> Option<Report> {
    // A file of another kind must not hang the start.
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(directory.join(FILE_NAME));
    let file = file.ok().filter(|file| file.metadata().is_ok_and(|found| found.is_file()))?;
    let mut bytes = Vec::new();
    file.take(MAX_REPORT).read_to_end(&mut bytes).ok()?;
    match serde_json::from_slice::<Report>(&bytes) {
        Ok(report) if report.version == bfd::report::VERSION => Some(report),
        Ok(report) => {
            log!(Warn, "the state is of another version; sessions begin anew", version = report.version);
            None
        }
        Err(error) => {
            log!(Warn, "the state cannot be read; sessions begin anew", error = error.to_string());
            None
        }
    }
}

fn write(directory: &Path, report: &Report) -> Result<(), std::io::Error> {
    let mut text = serde_json::to_vec_pretty(report)?;
    text.push(b'\n');
    let unfinished = directory.join(format!("{FILE_NAME}.new"));
    // What another member of the group has put there leads nowhere.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).open(&unfinished)?.write_all(&text)?;
    fs::rename(unfinished, directory.join(FILE_NAME))
}

#[cfg(test)]
mod tests {
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn what_others_put_there_leads_nowhere_and_hangs_nothing() {
        let directory = std::env::temp_dir().join(format!("bfd-files-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        nix::unistd::mkfifo(&directory.join(FILE_NAME), Mode::S_IRWXU).unwrap();
        assert!(read_report(&directory).is_none());
        let (victim, unfinished) = (directory.join("victim"), directory.join(format!("{FILE_NAME}.new")));
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, &unfinished).unwrap();
        let report: Report = serde_json::from_str(
            r#"{"version":1,"writtenAtMicroseconds":1,"scheduling":"normal","ports":[],"sources":[],"peers":[],"strangers":0}"#,
        )
        .unwrap();
        write(&directory, &report).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(read_report(&directory), Some(report));
        fs::remove_dir_all(directory).unwrap();
    }
}
