//! One JSON object per line on standard output, as the other programs write them.
//!
//! A thread of its own writes: when whoever reads the log is slow, lines are lost and counted, and the sessions go on.

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde_json::{Map, Value};

/// The environment variable with the least level that is written: `info` (the default), `debug`, `warn` or `error`.
const LEVEL: &str = "PURELB_LOG_LEVEL";

/// Lines that may wait.
const QUEUE: usize = 256;

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    least: Level,
    lines: SyncSender<Message>,
    lost: AtomicU64,
}

enum Message {
    Line(String),
    Flush(SyncSender<()>),
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for a defect.
    Debug,
    /// A change of state.
    Info,
    /// Something is wrong; the program goes on.
    Warn,
    /// The program ends.
    Error,
}

impl Level {
    const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// Starts the log.
pub fn init() {
    let least = match std::env::var(LEVEL).unwrap_or_default().to_ascii_lowercase().as_str() {
        "debug" | "trace" => Level::Debug,
        "warn" => Level::Warn,
        "error" => Level::Error,
        _ => Level::Info,
    };
    let (lines, waiting) = sync_channel(QUEUE);
    let started = std::thread::Builder::new().name("log".to_owned()).spawn(move || write(&waiting)).is_ok();
    if started {
        let _ = LOG.set(Log { least, lines, lost: AtomicU64::new(0) });
    }
}

fn write(waiting: &Receiver<Message>) {
    for message in waiting {
        match message {
            // Nobody can be informed if standard output is gone.
            Message::Line(line) => drop(std::io::stdout().lock().write_all(line.as_bytes())),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

/// Waits until what has been logged so far is written, for a second at most.
pub fn flush() {
    let Some(log) = LOG.get() else { return };
    let (done, written) = sync_channel(1);
    if log.lines.try_send(Message::Flush(done)).is_ok() {
        let _ = written.recv_timeout(std::time::Duration::from_secs(1));
    }
}

/// Writes a line; use the macro [`log!`](crate::log!).
pub fn line(level: Level, caller: (&str, u32), message: &str, fields: &[(&str, Value)]) {
    let Some(log) = LOG.get().filter(|log| level >= log.least) else { return };
    let lost = log.lost.swap(0, Ordering::Relaxed);
    if log.lines.try_send(Message::Line(format(level, caller, message, fields, lost))).is_err() {
        log.lost.fetch_add(lost + 1, Ordering::Relaxed);
    }
}

fn format(level: Level, (file, line): (&str, u32), message: &str, fields: &[(&str, Value)], lost: u64) -> String {
    let file = file.rsplit_once("src/").map_or(file, |(_, path)| path);
    let mut object = Map::new();
    object.insert("level".to_owned(), level.name().into());
    object.insert("caller".to_owned(), format!("{file}:{line}").into());
    object.insert("msg".to_owned(), message.into());
    object.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    if lost > 0 {
        object.insert("lostLines".to_owned(), lost.into());
    }
    let mut text = Value::Object(object).to_string();
    text.push('\n');
    text
}

/// Logs a message with fields: `log!(Info, "port open", port = 3784)`.
#[macro_export]
macro_rules! log {
    ($level:ident, $message:expr $(, $field:ident = $value:expr)* $(,)?) => {
        $crate::log::line(
            $crate::log::Level::$level,
            (file!(), line!()),
            $message,
            &[$((stringify!($field), serde_json::Value::from($value))),*],
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_level_caller_message_and_fields() {
        let text = format(Level::Warn, ("bfd-speaker/src/x/y.rs", 7), "say \"hello\"\n", &[("port", 3784.into())], 0);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"level": "warn", "caller": "x/y.rs:7", "msg": "say \"hello\"\n", "port": 3784})
        );
        assert_eq!(text.matches('\n').count(), 1);
        assert!(format(Level::Info, ("a", 1), "b", &[], 3).contains("\"lostLines\":3"));
    }
}
