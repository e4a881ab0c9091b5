//! When the Lease is written: rarely, because gossip shows who lives and the Lease only where agents listen; often
//! while gossip is silent; and whenever its content changes. Others can wait for a change of the node's own addresses, if
//! those that they know still count: some programs change them all the time.

use std::sync::Arc;
use std::time::Duration;

use api_types::lease::{Report, RouterReport};
use runtime::backoff::{Backoff, random_unit};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::content::Content;
use super::entries::Entries;

/// The usual interval of renewals.
const USUAL: Duration = Duration::from_secs(60);
/// The same while Leases have to show who lives, in a cluster of up to [`FEW`] members. Each renewal is seen by all members,
/// so in larger clusters the interval grows with their number.
const HURRY: Duration = Duration::from_secs(3);
/// See there.
const FEW: usize = 50;
/// The part of an interval that is added at random at most, so that agents which were started together do not renew
/// together.
const JITTER: f64 = 0.1;
/// New content waits until this long after the last attempt, because interfaces change in bursts.
const AT_LEAST: Duration = Duration::from_secs(1);
/// What others can wait for waits until this long after the last attempt: changes of the node's own addresses, and news
/// of routers. What is said of single addresses causes a write of its own at most this often; it comes with the next
/// renewal anyway.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first pause after a failure, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(3));

/// How often the Lease is renewed, in a cluster of so many members.
#[must_use]
pub fn every(gossip_silent: bool, members: usize) -> Duration {
    // In few steps, because another interval is another content.
    let times = u32::try_from(members.div_ceil(FEW).next_power_of_two()).unwrap_or(u32::MAX);
    if gossip_silent { HURRY.saturating_mul(times).min(USUAL) } else { USUAL }
}

/// How long a Lease is valid that is renewed so often: two renewals may be missed.
pub(super) fn duration(every: Duration) -> Duration {
    if every < USUAL { every * 3 + AT_LEAST } else { every * 3 }
}

/// The time to the next renewal; `random` is from 0 up to 1.
fn interval(every: Duration, random: f64) -> Duration {
    every.mul_f64(JITTER.mul_add(random, 1.0))
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
        let (backoff, entries_due) = (Backoff::new(RETRY.0, RETRY.1), Instant::now());
        Self { content, entries, turn, entries_due, routers, gone, backoff, last: None, sent: None }
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
                        self.entries_due = Instant::now() + PATIENCE;
                        due = due.min(last + AT_LEAST);
                    }
                    Ok(()) = self.routers.changed() => due = due.min(last + PATIENCE),
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
            (Some(content), Some(sent)) if content.can_wait(sent) => PATIENCE,
            _ => AT_LEAST,
        }
    }

    /// The outcome of the last attempt.
    pub(super) fn written(&mut self, succeeded: bool, every: Duration) {
        let pause = if succeeded {
            self.backoff.reset();
            interval(every, random_unit())
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
            every: every(gossip_silent, 3),
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
                schedule.written(*task_works.lock().unwrap(), content.every);
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
        assert_eq!(interval(USUAL, 0.0), Duration::from_secs(60));
        assert!(interval(USUAL, 0.999) < Duration::from_secs(66));
        assert!(interval(HURRY, 0.999) < Duration::from_millis(3300));
        assert!(interval(HURRY, 0.999) * 3 < duration(HURRY) && interval(USUAL, 0.999) * 2 < duration(USUAL));
    }

    #[test]
    fn a_large_cluster_hurries_less() {
        let seconds = |members| every(true, members).as_secs();
        assert_eq!([1, 50, 51, 100, 101, 400, 401, 1000, 5000].map(seconds), [3, 3, 6, 6, 12, 24, 48, 60, 60]);
        assert_eq!(every(false, 1000), USUAL);
        assert_eq!([HURRY, USUAL].map(|every| duration(every).as_secs()), [10, 180]);
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
        // An address beside one that the others know, and one to send to.
        let more = |last: u8| Content {
            subnets: vec!["192.0.2.0/24".parse().unwrap()],
            addresses: vec!["192.0.2.1/24".parse().unwrap(), format!("192.0.2.{last}/24").parse().unwrap()],
            endpoints: vec![([192, 0, 2, 1], 7475).into(), ([192, 0, 2, last], 7475).into()],
            ..content(false, "a")
        };
        field.content.send_replace(Some(more(2)));
        assert_eq!(field.during(2).await.len(), 1, "another subnet");
        let mut written = 0;
        for second in 3..123 {
            field.content.send_replace(Some(more(second)));
            written += field.during(1).await.len();
        }
        assert!((3..=4).contains(&written), "{written}");
        // The address that the others know is gone.
        field.content.send_replace(Some(Content { addresses: vec!["192.0.2.200/24".parse().unwrap()], ..more(2) }));
        assert_eq!(field.during(2).await.len(), 1);
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
        assert_eq!(field.during(40).await, ["a"]);
        let mut written = Vec::new();
        for second in 0..120 {
            let notices = Notices::AfterMilliseconds(900);
            field.routers.send_replace(vec![RouterReport { router: second.to_string(), notices }]);
            written.extend(field.during(1).await);
        }
        assert!((4..=5).contains(&written.len()) && written[0] == "0", "{written:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_that_others_can_wait_for_is_written_twice_a_minute_together() {
        let field = field(Some(content(false, "a")));
        field.during(40).await;
        let mut written = 0;
        for second in 0..120 {
            let own = OwnLists { addresses: vec![[192, 0, 2, second].into()], ..OwnLists::default() };
            field.content.send_replace(Some(Content { own, ..content(false, "a") }));
            let notices = Notices::AfterMilliseconds(900);
            field.routers.send_replace(vec![RouterReport { router: second.to_string(), notices }]);
            written += field.during(1).await.len();
        }
        assert!((4..=5).contains(&written), "{written}");
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
