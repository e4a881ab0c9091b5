//! Services with an address that nobody announces: since when, and what has been reported.
//!
//! A finding is reported when it has lasted for [`PATIENCE`]. If nothing explains it, it has to last longer: agents note
//! what they announce, and need time for that if there is much of it. Of many at once only their groups are reported, and
//! the conditions are written at a bounded rate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use runtime::BootTime;

use crate::model::{GroupId, ServiceName};

/// How long an address must have been unannounced. Together with the time to notice and to write it is less than 5 s.
const PATIENCE: Duration = Duration::from_secs(4);
/// The additional patience for each address that nothing explains: an agent writes 20 notes a second.
const FOR_EACH: Duration = Duration::from_millis(50);
/// How long the kernel of a node whose agent has died answers, if others could take the address over: the lifetime of
/// addresses.
const LIFETIME: Duration = Duration::from_secs(300);
/// How often the addresses are looked at, at most.
pub(super) const INTERVAL: Duration = Duration::from_millis(500);
/// The most conditions that change in one [`INTERVAL`]: 20 a second.
const CONDITIONS: usize = 10;
/// The most Services that get an event of their own within [`RECENTLY`]. If there are more, their groups get one.
pub(super) const MOST_EVENTS: usize = 50;
/// The time within which findings count as one.
const RECENTLY: Duration = Duration::from_secs(10);
/// The pause between two events about the same Service or group.
const EVENT_PAUSE: Duration = Duration::from_secs(60);

/// What was found about a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The reason of the condition.
    pub(super) reason: &'static str,
    /// The message of the condition, and the text of the event.
    pub(super) message: String,
    /// Whether what is known explains it.
    pub(super) explained: bool,
    /// The kernel of a node whose agent has died may answer.
    pub(super) may_linger: bool,
    /// The group of the address.
    pub(super) group: Option<GroupId>,
}

/// What is known of a Service.
#[derive(Debug)]
pub(super) enum Seen {
    /// All its addresses are announced.
    Announced,
    /// Not known.
    Unknown,
    /// Nobody announces one of them.
    Nobody(Found),
}

/// A Service that was looked at.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) name: ServiceName,
    pub(super) seen: Seen,
    /// Reason and message of the condition that the object has.
    pub(super) condition: Option<(String, String)>,
}

/// What the condition of a Service should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// Whatever it is.
    Unchanged,
    /// Absent.
    Absent,
    /// Present, with this reason and message.
    Present(&'a str, &'a str),
}

/// What follows from a look at all Services.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// Services to report, each with the text.
    pub(super) services: Vec<(ServiceName, String)>,
    /// Groups to report: how many Services, and some of them with a text.
    pub(super) groups: BTreeMap<GroupId, GroupReport>,
    /// Services whose condition is to be written.
    pub(super) conditions: Vec<ServiceName>,
}

/// What to report about a group.
#[derive(Debug, Default)]
pub(super) struct GroupReport {
    pub(super) count: usize,
    pub(super) examples: Vec<ServiceName>,
    /// The text of the first.
    pub(super) text: String,
}

#[derive(Debug)]
struct Episode {
    /// Since when; of what nothing explains, since when nothing does.
    since: BootTime,
    explained: bool,
    /// The reason that was reported last, and when.
    reported: Option<(String, BootTime)>,
}

/// The Services with an address that nobody announces, in this term.
#[derive(Debug, Default)]
pub(super) struct Unannounced {
    episodes: BTreeMap<ServiceName, Episode>,
    /// What the conditions should be that differ, or differed, from those of the objects.
    released: BTreeMap<ServiceName, Option<(&'static str, String)>>,
    /// When Services got events of their own.
    recent: VecDeque<BootTime>,
    groups: BTreeMap<GroupId, BootTime>,
}

impl Unannounced {
    /// What the condition of the Service should be.
    pub(super) fn wanted(&self, name: &ServiceName) -> Wanted<'_> {
        match self.released.get(name) {
            None => Wanted::Unchanged,
            Some(None) => Wanted::Absent,
            Some(Some((reason, message))) => Wanted::Present(reason, message),
        }
    }

    /// Takes in a look at all Services. Returns what to report, and whether to look again even if nothing changes.
    pub(super) fn update(&mut self, looked: &[Looked], now: BootTime) -> (Reports, bool) {
        let unexplained = |looked: &&Looked| matches!(&looked.seen, Seen::Nobody(found) if !found.explained);
        let unexplained = u32::try_from(looked.iter().filter(unexplained).count()).unwrap_or(u32::MAX);
        let names: BTreeSet<&ServiceName> = looked.iter().map(|looked| &looked.name).collect();
        self.episodes.retain(|name, _| names.contains(name));
        self.released.retain(|name, _| names.contains(name));
        let (mut reports, mut again, mut budget) = (Reports::default(), false, CONDITIONS);
        let mut due = Vec::new();
        for Looked { name, seen, condition } in looked {
            let ripe = match seen {
                Seen::Unknown => continue,
                Seen::Announced => {
                    self.episodes.remove(name);
                    None
                }
                Seen::Nobody(found) => {
                    let reported = condition.as_ref().map(|(reason, _)| (reason.clone(), BootTime::default()));
                    let new = || Episode { since: now, explained: found.explained, reported };
                    let episode = self.episodes.entry(name.clone()).or_insert_with(new);
                    if std::mem::replace(&mut episode.explained, found.explained) && !found.explained {
                        episode.since = now;
                    }
                    if now.since(episode.since) < patience(found, unexplained) {
                        again = true;
                        continue;
                    }
                    if is_due(episode, found.reason, now) {
                        due.push((name, found));
                    } else if episode.is_outdated(found.reason) {
                        again = true;
                    }
                    Some((found.reason, found.message.clone()))
                }
            };
            again |= !self.release(name, ripe, condition.as_ref(), &mut budget, &mut reports.conditions);
        }
        again |= !self.report(&due, now, &mut reports);
        (reports, again)
    }

    /// Lets the condition of a Service change, if the budget allows that now.
    fn release(
        &mut self,
        name: &ServiceName,
        desired: Option<(&'static str, String)>,
        condition: Option<&(String, String)>,
        budget: &mut usize,
        write: &mut Vec<ServiceName>,
    ) -> bool {
        let message = desired.as_ref().map(|(_, message)| message.as_str());
        if message == condition.map(|(_, message)| message.as_str()) {
            if desired.is_none() {
                self.released.remove(name);
            } else {
                self.released.insert(name.clone(), desired);
            }
            return true;
        }
        if self.released.get(name) == Some(&desired) {
            return true;
        }
        let Some(rest) = budget.checked_sub(1) else { return false };
        *budget = rest;
        self.released.insert(name.clone(), desired);
        write.push(name.clone());
        true
    }

    /// Chooses what to report of what is due. Returns whether that is everything.
    fn report(&mut self, due: &[(&ServiceName, &Found)], now: BootTime, reports: &mut Reports) -> bool {
        self.recent.retain(|at| now.since(*at) < RECENTLY);
        self.groups.retain(|_, at| now.since(*at) < EVENT_PAUSE);
        let many = self.recent.len().saturating_add(due.len()) > MOST_EVENTS;
        let (mut all, mut reported) = (true, BTreeSet::new());
        for (name, found) in due {
            match found.group.as_ref().filter(|_| many) {
                Some(group) if self.groups.contains_key(group) => {
                    all = false;
                    continue;
                }
                Some(group) => {
                    let report = reports.groups.entry(group.clone()).or_default();
                    report.count += 1;
                    if report.text.is_empty() {
                        report.text.clone_from(&found.message);
                    }
                    report.examples.push((*name).clone());
                    reported.insert(group.clone());
                }
                // Without a group it has only its condition, if there are many.
                None if self.recent.len() >= MOST_EVENTS => {}
                None => {
                    self.recent.push_back(now);
                    reports.services.push(((*name).clone(), found.message.clone()));
                }
            }
            if let Some(episode) = self.episodes.get_mut(*name) {
                episode.reported = Some((found.reason.to_owned(), now));
            }
        }
        self.groups.extend(reported.into_iter().map(|group| (group, now)));
        all
    }
}

impl Episode {
    /// Whether another reason was reported last, or none.
    fn is_outdated(&self, reason: &str) -> bool {
        self.reported.as_ref().is_none_or(|(reported, _)| reported != reason)
    }
}

fn patience(found: &Found, unexplained: u32) -> Duration {
    match (found.explained, found.may_linger) {
        (true, _) => PATIENCE,
        (false, false) => PATIENCE + FOR_EACH.saturating_mul(unexplained.saturating_sub(1)),
        (false, true) => LIFETIME,
    }
}

/// Whether the reason is to be reported: it is another one than that reported last.
fn is_due(episode: &Episode, reason: &str, now: BootTime) -> bool {
    let paused = episode.reported.as_ref().is_none_or(|(_, at)| now.since(*at) >= EVENT_PAUSE);
    episode.is_outdated(reason) && paused
}
