//! How often the allocator puts back what somebody else takes from a Service.
//!
//! The first repair is made at once. After that a Service gets two writes a minute, so that two programs that fight over it
//! do not load the API server. The owner of the address of each family adds one a minute. The marks before questions to
//! IPAM sidecars are counted apart, two a minute. What many Services need at once is written at 20 a second: the marks of
//! Services of an earlier release, and conditions about a group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use runtime::BootTime;

use super::condition::join_first;
use crate::model::{Service, ServiceName};

/// The time in which a Service gets [`REPAIRS`].
const MINUTE: Duration = Duration::from_secs(60);
/// The most repairs of a Service in a minute.
const REPAIRS: usize = 2;
/// How long the condition stays after the last repair, and how soon after another one it comes.
const QUIET: Duration = Duration::from_secs(120);
/// The pause between two Services that get what many may need at once.
const MARK_PAUSE: Duration = Duration::from_millis(50);
/// The most writers that the condition names.
const LISTED: usize = 5;

/// What a repair writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RepairKind {
    /// The annotation `leader-fence`, before a repair that the Service does not show to the next leader.
    Fence,
    /// The annotation `asked-of`, before a sidecar is asked. Nothing was there before, but somebody may take it off again
    /// and again.
    Ask,
    /// Conditions, or less.
    Note,
    /// A condition that many Services may get at once.
    GroupNote,
    /// Marks that the Service lacks.
    Marks,
    /// Addresses that somebody else took.
    Addresses,
}

impl RepairKind {
    /// Whether somebody else made the repair needed.
    const fn puts_back(self) -> bool {
        matches!(self, Self::Marks | Self::Addresses)
    }

    /// Whether it is written before something else, so that the next leader knows.
    const fn is_mark(self) -> bool {
        matches!(self, Self::Fence | Self::Ask)
    }

    /// Whether it counts against the same budget.
    const fn shares_budget(self, other: Self) -> bool {
        matches!(self, Self::Ask) == matches!(other, Self::Ask)
    }

    /// Whether many Services may need it at once.
    const fn comes_in_numbers(self) -> bool {
        matches!(self, Self::Marks | Self::GroupNote)
    }
}

/// The repairs of one Service.
#[derive(Debug, Default)]
struct Repaired {
    /// Another object of the name has a budget of its own.
    uid: Box<str>,
    /// Writes within the last minute.
    writes: Vec<(BootTime, RepairKind)>,
    /// From whom something was put back.
    writers: BTreeSet<String>,
    /// When something was put back last.
    put_back: Option<BootTime>,
    /// The message of the condition, and until when it stays.
    overwritten: Option<(String, BootTime)>,
}

/// The repairs of all Services in this term.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    services: BTreeMap<ServiceName, Repaired>,
    /// When the term began, by both clocks.
    began: (BootTime, Timestamp),
    /// Services that wait for what many may need at once.
    slots: BTreeMap<ServiceName, BootTime>,
    next_slot: BootTime,
    /// When to plan which Service again.
    due: BTreeSet<(BootTime, ServiceName)>,
}

impl Repairs {
    /// A term begins.
    pub(super) fn begin(&mut self, now: BootTime, time: Timestamp) {
        *self = Self { began: (now, time), ..Self::default() };
    }

    /// The Service has this condition from an earlier term.
    pub(super) fn inherit(&mut self, service: &Service, message: &str, now: BootTime) {
        let until = now + QUIET;
        repaired_of(&mut self.services, service).overwritten = Some((message.to_owned(), until));
        self.due.insert((until, service.name.clone()));
    }

    fn known(&self, service: &Service) -> Option<&Repaired> {
        self.services.get(&service.name).filter(|repaired| repaired.uid == service.uid)
    }

    /// Whether the Service may be repaired now. If not, it becomes due when it may.
    pub(super) fn permit(&mut self, service: &Service, kind: RepairKind, now: BootTime) -> bool {
        let slot = if kind.comes_in_numbers() { self.slot(&service.name, now) } else { now };
        let ready = self.ready_at(service, kind, now).max(slot);
        let permitted = ready <= now;
        if permitted {
            self.slots.remove(&service.name);
        } else {
            self.due.insert((ready, service.name.clone()));
        }
        permitted
    }

    fn ready_at(&self, service: &Service, kind: RepairKind, now: BootTime) -> BootTime {
        // The repair follows the fence in the same minute.
        let most = if kind == RepairKind::Fence { REPAIRS.saturating_sub(1) } else { REPAIRS };
        let writes = self.known(service).map_or(&[][..], |repaired| &repaired.writes);
        let counted = writes.iter().rev().filter(|(_, sent)| kind.shares_budget(*sent));
        let mut recent = counted.map(|(at, _)| *at).filter(|at| now.since(*at) < MINUTE);
        let by_budget = recent.nth(most.saturating_sub(1)).map_or(now, |at| at + MINUTE);
        let inherited = self.inherited(service).filter(|_| kind != RepairKind::Ask);
        by_budget.max(inherited.unwrap_or(now))
    }

    /// An earlier leader may have spent the budget: the object shows a write of ours within the last minute before the
    /// term.
    fn inherited(&self, service: &Service) -> Option<BootTime> {
        let (began, time) = self.began;
        // Managed fields have whole seconds. A write within the second in which the term began is taken for one of ours.
        let before = time.as_second().saturating_sub(service.writers.our_write?);
        if before <= 0 {
            return None;
        }
        let rest = MINUTE.checked_sub(Duration::from_secs(u64::try_from(before).ok()?))?;
        Some(began + rest)
    }

    fn slot(&mut self, name: &ServiceName, now: BootTime) -> BootTime {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let slot = self.next_slot.max(now);
        self.next_slot = slot + MARK_PAUSE;
        self.slots.insert(name.clone(), slot);
        slot
    }

    /// A repair is sent. Returns the message of the condition if the Service did not have it.
    pub(super) fn sent(&mut self, service: &Service, kind: RepairKind, now: BootTime) -> Option<String> {
        let repaired = repaired_of(&mut self.services, service);
        repaired.writes.retain(|(at, _)| now.since(*at) < MINUTE);
        repaired.writes.push((now, kind));
        if !kind.puts_back() {
            return None;
        }
        repaired.writers.insert(service.writers.name());
        let again = repaired.put_back.replace(now).is_some_and(|before| now.since(before) < QUIET);
        again.then(|| {
            let writers = join_first(repaired.writers.iter().cloned(), LISTED, ", ");
            let message = format!(
                "{writers} overwrites again and again what the load balancer writes to this Service; it is put back at most twice a minute: keep other programs from writing status.loadBalancer and the annotations purelb.io/*"
            );
            let before = repaired.overwritten.replace((message.clone(), now + QUIET));
            self.due.insert((now + QUIET, service.name.clone()));
            before.is_none_or(|(_, until)| until <= now).then_some(message)
        })?
    }

    /// The last write did not happen: the Service had changed meanwhile. It was a mark for the next leader, or not.
    pub(super) fn not_written(&mut self, name: &ServiceName, mark: bool) {
        if let Some(repaired) = self.services.get_mut(name) {
            repaired.writes.pop_if(|(_, kind)| kind.is_mark() == mark);
        }
    }

    /// The message of the condition `Overwritten` of a Service.
    pub(super) fn message(&self, service: &Service, now: BootTime) -> Option<&str> {
        let (message, until) = self.known(service)?.overwritten.as_ref()?;
        (now < *until).then_some(message)
    }

    /// Removes and returns the Services that are to be planned again now.
    pub(super) fn due(&mut self, now: BootTime) -> Vec<ServiceName> {
        let is_over = |repaired: &Repaired| {
            repaired.writes.iter().all(|(at, _)| now.since(*at) >= MINUTE)
                && repaired.put_back.is_none_or(|at| now.since(at) >= QUIET)
                && repaired.overwritten.as_ref().is_none_or(|(_, until)| *until <= now)
        };
        self.services.retain(|_, repaired| !is_over(repaired));
        let mut due = Vec::new();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            due.extend(self.due.pop_first().map(|(_, name)| name));
        }
        due
    }

    /// When the next Service becomes due.
    #[cfg(test)]
    pub(super) fn next_due(&self) -> Option<BootTime> {
        self.due.first().map(|(at, _)| *at)
    }
}

fn repaired_of<'a>(services: &'a mut BTreeMap<ServiceName, Repaired>, service: &Service) -> &'a mut Repaired {
    let repaired = services.entry(service.name.clone()).or_default();
    if repaired.uid != service.uid {
        *repaired = Repaired { uid: service.uid.clone(), ..Repaired::default() };
    }
    repaired
}
