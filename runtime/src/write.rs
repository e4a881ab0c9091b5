//! Outcomes of writes to the API server: the next step, and the metric.

use std::time::Duration;

use prometheus::{IntCounterVec, Opts, Registry};
use thiserror::Error;

/// Why a write did not succeed.
#[derive(Debug, Error)]
pub enum WriteError {
    /// There was no answer in time. The write may still take effect.
    #[error("no answer from the API server within {0:?}")]
    Deadline(Duration),
    /// The API server refused the write, or could not be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// The next step after a [`WriteError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The object has changed. Make a new write from its present state.
    Remake,
    /// The object does not exist any more. Forget it.
    Forget,
    /// Send the same write again, not before this time has passed.
    Retry(Option<Duration>),
    /// The API server does not accept the write (it is invalid or forbidden). Try again rarely, and report it.
    Refused,
}

impl WriteError {
    /// The next step.
    #[must_use]
    pub fn next(&self) -> Next {
        let Self::Api(kube::Error::Api(status)) = self else { return Next::Retry(None) };
        let after = || {
            let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
            (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)))
        };
        match status.code {
            404 | 410 => Next::Forget,
            409 => Next::Remake,
            // One second is what the API server asks for by default.
            429 => Next::Retry(Some(after().unwrap_or(Duration::from_secs(1)))),
            400..=499 => Next::Refused,
            _ => Next::Retry(after()),
        }
    }

    /// The value of the label `outcome` (specification, api.md 7).
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Api(kube::Error::Api(status)) => match status.code {
                409 => "conflict",
                401 | 403 => "forbidden",
                404 | 410 => "gone",
                429 => "throttled",
                _ => "other",
            },
            Self::Deadline(_) => "timeout",
            Self::Api(_) => "other",
        }
    }
}

/// Runs a request with a deadline.
///
/// # Errors
/// The error of the request, or [`WriteError::Deadline`].
pub async fn within<T>(
    deadline: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, WriteError> {
    match tokio::time::timeout(deadline, request).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(WriteError::Deadline(deadline)),
    }
}

/// Counts writes to the API server by their object and their outcome.
#[derive(Debug, Clone)]
pub struct WriteCounter(IntCounterVec);

impl WriteCounter {
    /// Registers `purelb_api_writes_total{object, outcome}`.
    ///
    /// # Errors
    /// A metric of this name is registered already.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let options = Opts::new("purelb_api_writes_total", "Writes sent to the API server");
        let counter = IntCounterVec::new(options, &["object", "outcome"])?;
        registry.register(Box::new(counter.clone()))?;
        Ok(Self(counter))
    }

    /// Counts one write and returns its result.
    ///
    /// # Errors
    /// The error of the write.
    pub fn count<T>(&self, object: &str, result: Result<T, WriteError>) -> Result<T, WriteError> {
        let outcome = result.as_ref().map_or_else(WriteError::outcome, |_| "success");
        self.0.with_label_values(&[object, outcome]).inc();
        result
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn error(code: u16) -> WriteError {
        WriteError::Api(kube::Error::Api(Status::failure("no", "").with_code(code).boxed()))
    }

    #[test]
    fn what_to_do_next() {
        assert_eq!(error(409).next(), Next::Remake);
        assert_eq!(error(404).next(), Next::Forget);
        assert_eq!(error(403).next(), Next::Refused);
        assert_eq!(error(422).next(), Next::Refused);
        assert_eq!(error(429).next(), Next::Retry(Some(Duration::from_secs(1))));
        assert_eq!(error(500).next(), Next::Retry(None));
        assert_eq!(WriteError::Deadline(Duration::from_secs(3)).next(), Next::Retry(None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_answer_ends() {
        let result = within(Duration::from_secs(3), std::future::pending::<Result<(), kube::Error>>()).await;
        assert!(matches!(result, Err(WriteError::Deadline(_))));
    }

    #[test]
    fn writes_are_counted() {
        let registry = Registry::new();
        let counter = WriteCounter::new(&registry).unwrap();
        assert!(counter.count("service", Ok(())).is_ok());
        assert!(counter.count::<()>("service", Err(error(409))).is_err());
        assert_eq!(counter.0.with_label_values(&["service", "conflict"]).get(), 1);
        assert_eq!(counter.0.with_label_values(&["service", "success"]).get(), 1);
    }
}
