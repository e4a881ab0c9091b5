//! One JSON object per line on standard output (specification, api.md 8).
//!
//! Each line has `level`, `caller`, `msg` and the fields of the entry. It has no time, because the container runtime
//! adds one. The environment variable [`LEVEL`] sets the level: `info` (the default) or `debug`.

use std::fmt::{self, Debug};
use std::io::Write;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The environment variable that sets the level.
pub const LEVEL: &str = "PURELB_LOG_LEVEL";

/// Starts the log. Later calls have no effect.
pub fn init() {
    let level = std::env::var(LEVEL).unwrap_or_default();
    let _already_started = tracing_subscriber::registry().with(JsonLines.with_filter(filter(&level))).try_init();
}

/// Other crates log little of use below `warn`. Errors of watches are logged by [`crate::watch`].
fn filter(level: &str) -> Targets {
    let ours = match level.to_ascii_lowercase().as_str() {
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        "warn" => LevelFilter::WARN,
        "error" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    let crates = ["allocator", "lbnodeagent", "runtime", "api_types", "e2e"];
    Targets::new()
        .with_default(LevelFilter::WARN.min(ours))
        .with_target("kube_runtime", LevelFilter::ERROR)
        .with_targets(crates.map(|name| (name, ours)))
}

struct JsonLines;

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = line(event);
        // If standard output is closed, there is nowhere to report it.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

fn line(event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let mut fields = Map::new();
    fields.insert("level".to_owned(), Value::from(metadata.level().as_str().to_ascii_lowercase()));
    let caller = match (metadata.file(), metadata.line()) {
        (Some(file), Some(line)) => format!("{}:{line}", short(file)),
        _ => metadata.target().to_owned(),
    };
    fields.insert("caller".to_owned(), Value::from(caller));
    event.record(&mut Fields(&mut fields));
    let mut line = Value::Object(fields).to_string();
    line.push('\n');
    line
}

/// The path below the crate's `src`, or the whole path if there is none.
fn short(file: &str) -> &str {
    file.rsplit_once("src/").map_or(file, |(_, path)| path)
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, Value::from(ErrorChain(value).to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Value::from(format!("{value:?}")));
    }
}

/// Formats an error with its causes, each once.
///
/// # Examples
/// ```
/// let error = "x".parse::<u8>().unwrap_err();
/// assert_eq!(runtime::log::ErrorChain(&error).to_string(), "invalid digit found in string");
/// ```
pub struct ErrorChain<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many libraries repeat the text of the cause in their own.
            if !last.contains(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    struct Capture(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Capture {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(line(event));
        }
    }

    #[test]
    fn a_line_has_level_caller_message_and_fields() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Capture(Arc::clone(&lines)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(op = "test", count = 3_u64, "say \"hello\"\n");
        });
        let lines = lines.lock().unwrap();
        let value: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(value["level"], "warn");
        assert_eq!(value["msg"], "say \"hello\"\n");
        assert_eq!(value["op"], "test");
        assert_eq!(value["count"], 3);
        assert!(value["caller"].as_str().unwrap().starts_with("log.rs:"));
        assert_eq!(lines[0].matches('\n').count(), 1);
    }
}
