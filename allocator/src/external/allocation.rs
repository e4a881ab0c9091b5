//! The external allocation of one Service in one group. Calls for it go one after the other, so that a release never
//! overtakes an allocation.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use api_types::Family;
use runtime::{BootTime, backoff};

use super::call::AddressRequest;
use super::queue::Pace;
use super::states::{CallState, Knowledge, Release, Wanted};

/// The pause after the first refusal. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a Service can count on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer<'a> {
    /// The sidecar has not answered yet.
    Pending,
    /// The sidecar gave these addresses.
    Given(&'a [IpAddr]),
    /// The sidecar gave nothing, for this reason.
    Failed(Cow<'a, str>),
}

/// What one Service wants, holds and releases of one group.
#[derive(Debug, Default)]
pub(super) struct ExternalAllocation {
    pub(super) wanted: Wanted,
    /// The addresses that the sidecar has given to the Service, as far as is known.
    pub(super) held: BTreeSet<IpAddr>,
    /// Those among them that the Service has from the sidecar, by what it shows: not what it was offered or gives back.
    pub(super) in_use: BTreeSet<IpAddr>,
    pub(super) knowledge: Knowledge,
    /// What is to be given back now. It goes before any allocation, unless the sidecar has refused it: what the Service
    /// wants counts more then, and uses what is owed.
    pub(super) release: Release,
    /// What the write in flight takes from the Service. It is given back when the write has succeeded, by the next leader
    /// if this process ends before.
    pub(super) release_after_write: Release,
    /// What the Service has and the sidecar does not list, to be registered, with the sharing key.
    pub(super) restore: (BTreeSet<IpAddr>, String),
    pub(super) call: CallState,
    /// When a call was answered last.
    pub(super) answered_at: BootTime,
    /// How the last call was answered.
    pub(super) pace: Pace,
    /// Why the last release failed.
    pub(super) release_failure: Option<String>,
    /// How many allocations failed since the last success.
    pub(super) failures: u32,
    /// How many releases failed since the last success.
    pub(super) release_failures: u32,
    /// Whether one of them was refused. One that was not answered may still be at work, and would take away what is asked
    /// for after it.
    pub(super) release_refused: bool,
    /// No allocation is sent before this time.
    pub(super) allocate_at: BootTime,
    /// No release is sent before this time.
    pub(super) release_at: BootTime,
}

/// What the Service wants.
impl ExternalAllocation {
    /// Requests addresses. An answer to the same request stands.
    pub(super) fn request(&mut self, request: AddressRequest) {
        if self.requested() != Some(&request) {
            self.wanted = Wanted::Asking { request, failure: None };
            self.retry_now();
        }
    }

    /// Rejects addresses that the sidecar gave. With a reason the whole answer is void, and the request is repeated
    /// later. Without one the rest of the answer stands.
    pub(super) fn reject(&mut self, rejected: &[IpAddr], why: Option<&str>, now: BootTime) {
        let Wanted::Granted { request, addresses } = &mut self.wanted else { return };
        match why {
            Some(why) => {
                self.wanted = Wanted::Asking { request: std::mem::take(request), failure: Some(why.to_owned()) };
                self.allocate_at = now + pause(&mut self.failures);
            }
            None => addresses.retain(|address| !rejected.contains(address)),
        }
    }

    /// Records addresses that the Service has by its status.
    pub(super) fn record_held(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.held.extend(addresses);
        self.in_use.clone_from(addresses);
        self.assume_sent();
    }

    /// An allocation may have been sent: the sidecar may have something for the Service.
    pub(super) fn assume_sent(&mut self) {
        if matches!(self.knowledge, Knowledge::Nothing) {
            self.knowledge = Knowledge::Answered;
        }
    }

    /// An earlier leader may have sent an allocation with this key without seeing the answer.
    pub(super) fn assume_unanswered(&mut self, key: &str) {
        self.knowledge = Knowledge::Unanswered { key: key.to_owned() };
    }

    /// The Service wants nothing more and has these addresses: gives back everything else.
    pub(super) fn keep_only(&mut self, needed: &BTreeSet<IpAddr>) {
        if needed.is_empty() {
            return self.release_all();
        }
        // The answer to a request for what the Service has anyway shows all that the sidecar has for it.
        let has = |family| needed.iter().any(|&address| Family::of(address) == family);
        let repeated = self.unanswered_key().map(|key| AddressRequest {
            v4: has(Family::V4),
            v6: has(Family::V6),
            key: key.to_owned(),
        });
        self.wanted = if let Some(request) = repeated {
            Wanted::Asking { request, failure: None }
        } else {
            self.failures = 0;
            Wanted::Nothing
        };
        self.release_unneeded(needed);
    }

    /// Gives back what is neither needed nor granted.
    pub(super) fn release_unneeded(&mut self, needed: &BTreeSet<IpAddr>) {
        self.release_after_write = Release::Nothing;
        self.restore.0.retain(|address| needed.contains(address));
        if self.release == Release::All {
            return;
        }
        let release = if matches!(self.knowledge, Knowledge::UnansweredThenRefused { .. }) && needed.is_empty() {
            Release::All
        } else {
            let granted: &[IpAddr] = match &self.wanted {
                Wanted::Granted { addresses, .. } => addresses,
                _ => &[],
            };
            let unneeded = self.held.iter().filter(|address| !needed.contains(address) && !granted.contains(address));
            Release::of(unneeded.copied().collect())
        };
        if release != self.release {
            self.release = release;
            self.release_at = BootTime::default();
        }
    }

    /// The sidecar does not list these addresses of the Service.
    pub(super) fn restore(&mut self, addresses: BTreeSet<IpAddr>, key: &str) {
        self.restore = (addresses, key.to_owned());
    }

    /// The Service wants nothing more and keeps nothing.
    pub(super) fn release_all(&mut self) {
        self.restore.0.clear();
        self.release_after_write = Release::Nothing;
        self.wanted = Wanted::Nothing;
        if self.release != Release::All {
            let may_have_any = self.may_have_any();
            self.release = if may_have_any { Release::All } else { Release::Nothing };
            if may_have_any {
                self.retry_now();
            }
        }
    }

    /// A write is in flight that leaves `kept` on the Service. Records what it takes away, so that the status of the
    /// group names it should this process end before it is given back.
    pub(super) fn prepare_release(&mut self, requested: bool, kept: &[IpAddr]) {
        if !requested {
            self.wanted = Wanted::Nothing;
        }
        let dropped: BTreeSet<IpAddr> = self.held.iter().filter(|address| !kept.contains(address)).copied().collect();
        let keeps_none = dropped.len() == self.held.len();
        self.release_after_write =
            if !requested && keeps_none && self.may_have_any() { Release::All } else { Release::of(dropped) };
    }

    /// The sidecar has these addresses of an earlier Service of the name for this one.
    pub(super) fn inherit(&mut self, addresses: BTreeSet<IpAddr>) {
        self.held.extend(addresses);
    }

    /// An earlier leader owed this release: one address, or all.
    pub(super) fn resume_release(&mut self, address: Option<IpAddr>) {
        self.assume_sent();
        match address {
            Some(address) => {
                self.held.insert(address);
                self.release.add(address);
            }
            None => self.release = Release::All,
        }
    }
}

/// Questions.
impl ExternalAllocation {
    /// What the Service can count on, if the allocation is about this very request.
    pub(super) fn offer(&self, wanted: &AddressRequest) -> Option<Offer<'_>> {
        match &self.wanted {
            Wanted::Granted { request, addresses } if request == wanted => Some(Offer::Given(addresses)),
            Wanted::Asking { request, failure: Some(text) } if request == wanted => Some(Offer::Failed(text.into())),
            _ => None,
        }
    }

    pub(super) fn requested(&self) -> Option<&AddressRequest> {
        match &self.wanted {
            Wanted::Nothing => None,
            Wanted::Asking { request, .. } | Wanted::Granted { request, .. } => Some(request),
        }
    }

    /// Whether the sidecar gave the address to the Service.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.held.contains(&address)
    }

    /// Whether a call is under way or due, or an allocation was sent and never answered.
    pub(super) fn is_open(&self) -> bool {
        self.call != CallState::Idle || self.wants_any() || self.owes_release() || self.unanswered_key().is_some()
    }

    /// Whether the Service wants something.
    pub(super) const fn wants_any(&self) -> bool {
        !matches!(self.wanted, Wanted::Nothing)
    }

    /// Whether a request of the Service still needs an answer.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.wanted, Wanted::Asking { .. })
    }

    pub(super) fn unanswered_key(&self) -> Option<&str> {
        match &self.knowledge {
            Knowledge::Unanswered { key } | Knowledge::UnansweredThenRefused { key } => Some(key),
            Knowledge::Nothing | Knowledge::Answered => None,
        }
    }

    /// Whether the sidecar may have something for the Service.
    fn may_have_any(&self) -> bool {
        !matches!(self.knowledge, Knowledge::Nothing) || !self.held.is_empty()
    }

    /// Whether the Service has addresses of the sidecar, or is about to have some, and does not give all of them back.
    pub(super) fn is_living(&self) -> bool {
        self.release != Release::All && !self.held.is_empty()
    }

    /// Whether something is to be given back, and the sidecar has not refused that so far.
    pub(super) fn owes_unrefused_release(&self) -> bool {
        self.owes_release() && !self.release_refused
    }

    /// Whether the address is to be given back.
    pub(super) fn gives_back(&self, address: IpAddr) -> bool {
        self.release == Release::All || self.release.addresses().any(|given| *given == address)
    }

    /// Whether it was refused an address, and may get one as soon as another one is free.
    pub(super) fn waits_for_an_address(&self) -> bool {
        self.is_asking() && self.pace == Pace::Prompt && !self.releases_first()
    }

    /// Why the sidecar has not taken back what is to be given back.
    pub(super) fn release_failure(&self) -> Option<&str> {
        self.release_failure.as_deref().filter(|_| self.owes_release())
    }

    /// Whether something is to be given back now.
    pub(super) fn owes_release(&self) -> bool {
        self.release != Release::Nothing
    }

    /// What is not given back yet: single addresses, or `None` for all.
    pub(super) fn pending_releases(&self) -> impl Iterator<Item = Option<IpAddr>> {
        let all = self.release == Release::All || self.release_after_write == Release::All;
        let later = self.release_after_write.addresses();
        let later = later.filter(|address| !self.release.addresses().any(|now| now == *address));
        let some = self.release.addresses().chain(later).filter(move |_| !all);
        all.then_some(None).into_iter().chain(some.map(|address| Some(*address)))
    }

    /// Whether a leader that takes over need not know of this allocation: no call is in flight, and nothing that the
    /// sidecar may have given is still to be written.
    pub(super) fn is_quiet(&self) -> bool {
        let unsent = matches!(self.knowledge, Knowledge::Nothing);
        !matches!(self.call, CallState::InFlight(_)) && (!self.wants_any() || unsent)
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_over(&self) -> bool {
        !matches!(self.call, CallState::InFlight(_))
            && !self.wants_any()
            && !self.may_have_any()
            && self.release != Release::All
    }
}

/// The pause after one more failure.
pub(super) fn pause(failures: &mut u32) -> Duration {
    let pause = backoff::step(FIRST_PAUSE, LONGEST_PAUSE, *failures);
    *failures = failures.saturating_add(1);
    pause
}
