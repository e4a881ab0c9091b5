//! What all operators have in common: the Services they work on, rounds, the end.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use tokio::{sync::watch, task::JoinHandle, time::sleep};

/// The pause between two writes of an operator: ten a second, which two processors bear beside everything else.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// Services of one namespace that an operator works on.
#[derive(Clone)]
pub struct Targets {
    client: Client,
    namespace: String,
    names: Vec<String>,
}

impl Targets {
    /// These.
    #[must_use]
    pub fn new(client: Client, namespace: &str, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { client, namespace: namespace.to_owned(), names: names.into_iter().map(Into::into).collect() }
    }

    pub(super) fn api(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the Service is one of them.
    pub(super) fn contain(&self, service: &Service) -> bool {
        service.metadata.name.as_ref().is_some_and(|name| self.names.contains(name))
    }
}

/// A program with a bad habit. It ends when this is dropped.
#[must_use = "it ends when this is dropped"]
pub struct Operator {
    habit: &'static str,
    writes: Arc<AtomicUsize>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} writes", self.habit, self.writes())
    }
}

impl Operator {
    /// Starts one. The work ends soon after [`Rounds::next`] has returned false.
    pub(super) fn start<F>(habit: &'static str, work: impl FnOnce(Rounds) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let writes = Arc::<AtomicUsize>::default();
        let rounds = Rounds { stopped, writes: Arc::clone(&writes) };
        Self { habit, writes, stop, task: tokio::spawn(work(rounds)) }
    }

    /// What it does.
    #[must_use]
    pub fn habit(&self) -> &'static str {
        self.habit
    }

    /// How many of its writes the API server has accepted.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    /// Ends it. What it changes back and forth is as it was before.
    pub async fn end(mut self) {
        self.stop.send_replace(true);
        // It has failed if it panicked, and the test says so by its count of writes.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The rounds of an operator until its end, and the count of its writes.
pub(super) struct Rounds {
    stopped: watch::Receiver<bool>,
    writes: Arc<AtomicUsize>,
}

impl Rounds {
    /// Waits for the next round; false when there is none.
    pub(super) async fn next(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = sleep(pause) => !*self.stopped.borrow(),
            _ = self.stopped.changed() => false,
        }
    }

    /// Waits until there is no next round.
    pub(super) fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopped = self.stopped.clone();
        async move { _ = stopped.wait_for(|stopped| *stopped).await }
    }

    /// Counts a write if the API server accepted it. One that it refuses is another's good fortune: such a program does
    /// not look.
    pub(super) fn count<T, E>(&self, answer: &Result<T, E>) {
        if answer.is_ok() {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
    }
}
