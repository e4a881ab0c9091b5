//! When the Lease is written: rarely, because gossip shows who lives and the Lease only where agents listen; often
//! while gossip is silent; and whenever its content changes. A change of nothing but the node's own addresses can wait:
//! some programs change them all the time.

use std::sync::Arc;
use std::time::Duration;

use api_types::lease::{Report, RouterReport};
use runtime::backoff::{Backoff, random_unit};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::content::Content;
use super::entries::Entries;

/// The usual interval of renewals, and how long each is valid: two may be missed.
const USUAL: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(180));
/// The same while Leases have to show who lives.
const GOSSIP_SILENT: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(10));
/// The part of an interval that is added at random at most, so that agents which were started together do not renew
/// together.
const JITTER: f64 = 0.1;
/// New content waits until this long after the last attempt, because interfaces change in bursts.
const AT_LEAST: Duration = Duration::from_secs(1);
/// A change of nothing but the node's own addresses waits until this long after the last attempt.
const OWN_LISTS_AT_LEAST: Duration = Duration::from_secs(30);
/// What is said of single addresses, or of routers, causes a write of its own at most this often each. It comes with the
/// next renewal anyway.
const DETAILS: Duration = Duration::from_secs(30);
/// The first pause after a failure, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));

/// How long a Lease is valid.
pub(super) const fn duration(gossip_silent: bool) -> Duration {
    if gossip_silent { GOSSIP_SILENT.1 } else { USUAL.1 }
}

/// The time to the next renewal; `random` is from 0 up to 1.
fn interval(gossip_silent: bool, random: f64) -> Duration {
    let interval = if gossip_silent { GOSSIP_SILENT.0 } else { USUAL.0 };
    interval.mul_f64(JITTER.mul_add(random, 1.0))
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) content: Content,
    /// A page of the entries.
    pub(super) report: Report,
    pub(super) routers: Vec<RouterReport>,
}

/// The schedule of writes.
pub(super) struct Schedule {
    content: watch::Receiver<Option<Content>>,
    entries: watch::Receiver<Entries>,
    /// The page of the entries that is written next.
    turn: usize,
    /// When new entries cause a write.
    entries_due: Instant,
    routers: watch::Receiver<Vec<RouterReport>>,
    /// When news of routers cause a write.
    routers_due: Instant,
    /// Somebody deleted the Lease.
    gone: Arc<Notify>,
    backoff: Backoff,
    /// The last attempt, and the pause after it.
    last: Option<(Instant, Duration)>,
    /// The content of the last attempt.
    sent: Option<Content>,
}

impl Schedule {
    /// `turn` is the first page of the entries.
    pub(super) fn new(
        content: watch::Receiver<Option<Content>>,
        entries: watch::Receiver<Entries>,
        routers: watch::Receiver<Vec<RouterReport>>,
        turn: usize,
        gone: Arc<Notify>,
    ) -> Self {
        let (backoff, now) = (Backoff::new(RETRY.0, RETRY.1), Instant::now());
        let (entries_due, routers_due) = (now, now);
        Self { content, entries, turn, entries_due, routers, routers_due, gone, backoff, last: None, sent: None }
    }

    /// Waits for the next write; returns nothing when there will be no new content any more.
    pub(super) async fn next(&mut self) -> Option<Due> {
        if let Some((last, pause)) = self.last {
            let mut due = last + pause;
            loop {
                tokio::select! {
                    () = sleep_until(due) => break,
                    changed = self.content.changed() => {
                        changed.ok()?;
                        due = due.min(last + self.at_least());
                    }
                    () = self.gone.notified() => due = due.min(last + AT_LEAST),
                    Ok(()) = changed_after(&mut self.entries, self.entries_due) => {
                        self.entries_due = Instant::now() + DETAILS;
                        due = due.min(last + AT_LEAST);
                    }
                    Ok(()) = changed_after(&mut self.routers, self.routers_due) => {
                        self.routers_due = Instant::now() + DETAILS;
                        due = due.min(last + AT_LEAST);
                    }
                }
            }
        }
        loop {
            let content = self.content.borrow_and_update().clone();
            if let Some(content) = content {
                self.sent = Some(content.clone());
                // The pause until the outcome is known.
                self.last = Some((Instant::now(), RETRY.1));
                let report = self.entries.borrow_and_update().page(self.turn);
                self.turn = self.turn.wrapping_add(1);
                let routers = self.routers.borrow_and_update().clone();
                return Some(Due { content, report, routers });
            }
            self.content.changed().await.ok()?;
        }
    }

    /// How long after the last attempt the present content may be written.
    fn at_least(&mut self) -> Duration {
        let content = self.content.borrow_and_update();
        match (&*content, &self.sent) {
            (Some(content), Some(sent)) if content.differs_in_own_lists_only(sent) => OWN_LISTS_AT_LEAST,
            _ => AT_LEAST,
        }
    }

    /// The outcome of the last attempt.
    pub(super) fn written(&mut self, succeeded: bool, gossip_silent: bool) {
        let pause = if succeeded {
            self.backoff.reset();
            interval(gossip_silent, random_unit())
        } else {
            self.backoff.next_delay()
        };
        // A failed attempt may have taken long, so the pause begins at its end.
        let from = self.last.filter(|_| succeeded).map_or_else(Instant::now, |(last, _)| last);
        self.last = Some((from, pause));
    }
}

/// Waits for news, and not less than until `at`.
async fn changed_after<T>(news: &mut watch::Receiver<T>, at: Instant) -> Result<(), watch::error::RecvError> {
    sleep_until(at).await;
    news.changed().await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use api_types::lease::Notices;
    use runtime::Task;
    use tokio::time::sleep;

    use super::*;
    use crate::report::lease::own::OwnLists;

    fn content(gossip_silent: bool, uid: &str) -> Content {
        Content {
            node_uid: uid.to_owned(),
            subnets: Vec::new(),
            addresses: Vec::new(),
            own: OwnLists::default(),
            macs: Vec::new(),
            endpoints: Vec::new(),
            gossip_silent,
            proxy: None,
            inactive: None,
        }
    }

    struct Field {
        content: watch::Sender<Option<Content>>,
        entries: watch::Sender<Entries>,
        routers: watch::Sender<Vec<RouterReport>>,
        gone: Arc<Notify>,
        works: Arc<Mutex<bool>>,
        written: Arc<Mutex<Vec<(Instant, String)>>>,
        _task: Task,
    }

    /// The schedule at work, with writes that take no time.
    fn field(first: Option<Content>) -> Field {
        let (content, contents) = watch::channel(first);
        let (entries, all_entries) = watch::channel(Entries::default());
        let (routers, all_routers) = watch::channel(Vec::new());
        let (gone, works, written) = (Arc::default(), Arc::new(Mutex::new(true)), Arc::<Mutex<Vec<_>>>::default());
        let (task_gone, task_works, task_written) = (Arc::clone(&gone), works.clone(), written.clone());
        let task = Task::spawn(async move {
            let mut schedule = Schedule::new(contents, all_entries, all_routers, 0, task_gone);
            while let Some(Due { content, report, routers }) = schedule.next().await {
                let what = report.refused.first().map_or(content.node_uid, |refused| refused.why.clone());
                let what = routers.first().map_or(what, |report| report.router.clone());
                task_written.lock().unwrap().push((Instant::now(), what));
                schedule.written(*task_works.lock().unwrap(), content.gossip_silent);
            }
        });
        Field { content, entries, routers, gone, works, written, _task: task }
    }

    impl Field {
        /// What was written within the next seconds.
        async fn during(&self, seconds: u64) -> Vec<String> {
            self.written.lock().unwrap().clear();
            sleep(Duration::from_secs(seconds)).await;
            self.written.lock().unwrap().iter().map(|(_, uid)| uid.clone()).collect()
        }
    }

    #[test]
    fn jitter_is_a_tenth_at_most() {
        assert_eq!(interval(false, 0.0), Duration::from_secs(60));
        assert!(interval(false, 0.999) < Duration::from_secs(66));
        assert!(interval(true, 0.999) < Duration::from_millis(3300));
        assert!(interval(true, 0.999) * 3 < duration(true) && interval(false, 0.999) * 2 < duration(false));
    }

    #[tokio::test(start_paused = true)]
    async fn once_a_minute_and_in_a_hurry_every_three_seconds() {
        let field = field(None);
        assert!(field.during(100).await.is_empty(), "nothing to say yet");
        field.content.send_replace(Some(content(false, "a")));
        assert_eq!(field.during(1).await.len(), 1);
        let ten_minutes = field.during(600).await.len();
        assert!((9..=10).contains(&ten_minutes), "{ten_minutes}");
        field.content.send_replace(Some(content(true, "a")));
        let a_minute = field.during(60).await.len();
        assert!((18..=21).contains(&a_minute), "{a_minute}");
    }

    #[tokio::test(start_paused = true)]
    async fn news_are_written_at_once_but_once_a_second() {
        let field = field(Some(content(false, "a")));
        assert_eq!(field.during(10).await, ["a"]);
        field.content.send_replace(Some(content(false, "b")));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(field.written.lock().unwrap().last().unwrap().1, "b");
        for uid in ["c", "d", "e"] {
            sleep(Duration::from_millis(100)).await;
            field.content.send_replace(Some(content(false, uid)));
        }
        assert_eq!(field.during(30).await, ["e"], "the last one only");
    }

    #[tokio::test(start_paused = true)]
    async fn case_58_own_addresses_alone_are_written_twice_a_minute() {
        let field = field(Some(content(false, "a")));
        let own = |last: u8| Content {
            own: OwnLists { addresses: vec![[192, 0, 2, last].into()], ..OwnLists::default() },
            ..content(false, "a")
        };
        assert_eq!(field.during(10).await.len(), 1);
        let mut written = 0;
        for second in 0..120 {
            field.content.send_replace(Some(own(second)));
            written += field.during(1).await.len();
        }
        assert!((3..=4).contains(&written), "{written}");
        // Anything else does not wait, and takes the list along.
        field.content.send_replace(Some(Content { node_uid: "b".to_owned(), ..own(200) }));
        assert_eq!(field.during(2).await, ["b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn new_entries_are_written_at_once_after_half_a_minute_without() {
        let field = field(Some(content(false, "a")));
        field.during(40).await;
        let set = |why: &str| {
            let refused = Some(why.to_owned());
            field.entries.send_modify(|entries| entries.set("192.0.2.1".parse().unwrap(), refused, [].into()));
        };
        set("first");
        assert_eq!(field.during(2).await, ["first"]);
        set("second");
        assert!(field.during(20).await.is_empty());
        set("third");
        assert_eq!(field.during(15).await, ["third"]);
        // Without changes, only the renewal.
        assert!(field.during(40).await.is_empty());
        assert_eq!(field.during(30).await.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn news_of_routers_are_written_twice_a_minute() {
        let field = field(Some(content(false, "a")));
        assert_eq!(field.during(10).await, ["a"]);
        let mut written = Vec::new();
        for second in 0..120 {
            let notices = Notices::AfterMilliseconds(900);
            field.routers.send_replace(vec![RouterReport { router: second.to_string(), notices }]);
            written.extend(field.during(1).await);
        }
        assert!((4..=6).contains(&written.len()) && written[0] == "0", "{written:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_lease_comes_back_at_once() {
        let field = field(Some(content(false, "a")));
        assert_eq!(field.during(10).await.len(), 1);
        field.gone.notify_one();
        assert_eq!(field.during(1).await.len(), 1);
        assert!(field.during(30).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_repeated_soon() {
        let field = field(Some(content(false, "a")));
        assert_eq!(field.during(10).await.len(), 1);
        *field.works.lock().unwrap() = false;
        field.content.send_replace(Some(content(false, "b")));
        let attempts = field.during(60).await.len();
        assert!((20..=45).contains(&attempts), "{attempts}");
        *field.works.lock().unwrap() = true;
        assert_eq!(field.during(3).await.len(), 1);
        assert!(field.during(50).await.is_empty());
    }
}
