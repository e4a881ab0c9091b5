//! The external allocation of one Service in one group. Calls for it go one after the other, so that a release never
//! overtakes an allocation.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use api_types::Family;
use runtime::{BootTime, backoff};

use super::call::{AddressRequest, CallError, CallId, Request, Response};
use super::states::{CallState, Knowledge, Release, Wanted};
use crate::model::ServiceName;

/// The pause after the first refusal. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a Service can count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer<'a> {
    /// The sidecar has not answered yet.
    Pending,
    /// The sidecar gave these addresses.
    Given(&'a [IpAddr]),
    /// The sidecar gave nothing, for this reason.
    Failed(&'a str),
}

/// What one Service wants, holds and releases of one group.
#[derive(Debug, Default)]
pub(super) struct ExternalAllocation {
    wanted: Wanted,
    /// The addresses that the sidecar has given to the Service, as far as is known.
    held: BTreeSet<IpAddr>,
    knowledge: Knowledge,
    /// What is to be given back now. It goes before any allocation.
    release: Release,
    /// What the write in flight takes from the Service. It is given back when the write has succeeded, by the next leader
    /// if this process ends before.
    release_after_write: Release,
    call: CallState,
    /// Whether it was reported that a release fails.
    release_failure_reported: bool,
    failures: u32,
    /// No allocation is sent before this time.
    allocate_at: BootTime,
    /// No release is sent before this time.
    release_at: BootTime,
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
                self.allocate_at = self.pause(now);
            }
            None => addresses.retain(|address| !rejected.contains(address)),
        }
    }

    /// Records addresses that the Service has by its status.
    pub(super) fn record_held(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.held.extend(addresses);
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

    /// The Service wants nothing more and keeps nothing.
    pub(super) fn release_all(&mut self) {
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

/// The calls.
impl ExternalAllocation {
    /// The next request, which may be sent at [`ready_at`](Self::ready_at).
    pub(super) fn next_request(&self, name: &ServiceName) -> Option<Request> {
        if matches!(self.call, CallState::InFlight(_)) {
            return None;
        }
        match (&self.release, &self.wanted) {
            (Release::All, _) => Some(Request::Release(name.clone(), None)),
            (Release::Addresses(addresses), _) => {
                addresses.first().map(|address| Request::Release(name.clone(), Some(*address)))
            }
            (Release::Nothing, Wanted::Asking { request, .. }) => {
                Some(Request::Allocate(name.clone(), request.clone()))
            }
            (Release::Nothing, _) => None,
        }
    }

    /// When the next call may be sent.
    pub(super) fn ready_at(&self) -> BootTime {
        if self.owes_release() { self.release_at } else { self.allocate_at }
    }

    /// The next call need not wait.
    pub(super) fn retry_now(&mut self) {
        (self.allocate_at, self.release_at) = (BootTime::default(), BootTime::default());
    }

    /// Notes that the call waits in the queue. Returns whether it did not wait there before.
    pub(super) fn enqueue(&mut self) -> bool {
        let idle = self.call == CallState::Idle;
        if idle {
            self.call = CallState::Queued;
        }
        idle
    }

    /// Notes that the call left the queue.
    pub(super) fn dequeue(&mut self) {
        if self.call == CallState::Queued {
            self.call = CallState::Idle;
        }
    }

    pub(super) fn is_queued(&self) -> bool {
        self.call == CallState::Queued
    }

    /// Notes that the request is sent.
    pub(super) fn sent(&mut self, id: CallId, request: &Request) {
        self.call = CallState::InFlight(id);
        if matches!(request, Request::Allocate(..)) {
            self.assume_sent();
        }
    }

    /// Whether this call is in flight.
    pub(super) fn awaits(&self, id: CallId) -> bool {
        self.call == CallState::InFlight(id)
    }

    /// Takes in the answer to the call in flight.
    pub(super) fn answered(&mut self, request: &Request, result: &Result<Response, CallError>, now: BootTime) {
        self.call = CallState::Idle;
        match (request, result) {
            (Request::Allocate(_, request), Ok(Response::Addresses(addresses))) => self.allocated(request, addresses),
            (Request::Release(_, address), Ok(_)) => self.released(*address),
            (Request::Allocate(_, request), Err(error)) => {
                self.allocation_failed(request, error);
                // The pause of a sidecar that does not answer is kept for all its calls, in `sidecar`.
                if !error.unanswered {
                    self.allocate_at = self.pause(now);
                }
            }
            (_, Err(error)) if !error.unanswered => self.release_at = self.pause(now),
            _ => {}
        }
    }

    fn allocated(&mut self, request: &AddressRequest, addresses: &[IpAddr]) {
        self.held.extend(addresses);
        self.knowledge = Knowledge::Answered;
        if self.requested() == Some(request) && self.release != Release::All {
            let granted: Vec<IpAddr> =
                addresses.iter().filter(|address| request.wants(Family::of(**address))).copied().collect();
            // An address that was to be given back is wanted again.
            self.release.retain(|address| !granted.contains(address));
            // The failures are counted until the Service has the addresses.
            self.wanted = Wanted::Granted { request: request.clone(), addresses: granted };
        }
    }

    fn released(&mut self, address: Option<IpAddr>) {
        self.release_failure_reported = false;
        if let Some(released) = address {
            self.release.retain(|address| *address != released);
            self.held.remove(&released);
        } else {
            self.release = Release::Nothing;
            self.knowledge = Knowledge::Nothing;
            self.held.clear();
        }
    }

    fn allocation_failed(&mut self, request: &AddressRequest, error: &CallError) {
        if let Wanted::Asking { failure, .. } = &mut self.wanted {
            *failure = Some(error.text.clone());
        }
        let key = if error.may_have_acted { Some(request.key.as_str()) } else { self.unanswered_key() };
        if let Some(key) = key.map(str::to_owned) {
            self.knowledge =
                if error.unanswered { Knowledge::Unanswered { key } } else { Knowledge::UnansweredThenRefused { key } };
        }
    }

    /// Notes that a release failed. Returns whether that was not reported yet.
    pub(super) fn release_failed(&mut self) -> bool {
        !std::mem::replace(&mut self.release_failure_reported, true)
    }

    /// The group moved to another sidecar: what the old one gave, or was to be asked, is asked of the new one.
    pub(super) fn move_to_other_sidecar(&mut self) {
        self.dequeue();
        if let Wanted::Granted { request, .. } = &mut self.wanted {
            self.wanted = Wanted::Asking { request: std::mem::take(request), failure: None };
        }
        self.retry_now();
    }

    fn pause(&mut self, now: BootTime) -> BootTime {
        let pause = backoff::step(FIRST_PAUSE, LONGEST_PAUSE, self.failures);
        self.failures = self.failures.saturating_add(1);
        now + pause
    }
}

/// Questions.
impl ExternalAllocation {
    /// What the Service can count on, if the allocation is about this very request.
    pub(super) fn offer(&self, wanted: &AddressRequest) -> Option<Offer<'_>> {
        match &self.wanted {
            Wanted::Granted { request, addresses } if request == wanted => Some(Offer::Given(addresses)),
            Wanted::Asking { request, failure: Some(text) } if request == wanted => Some(Offer::Failed(text)),
            _ => None,
        }
    }

    fn requested(&self) -> Option<&AddressRequest> {
        match &self.wanted {
            Wanted::Nothing => None,
            Wanted::Asking { request, .. } | Wanted::Granted { request, .. } => Some(request),
        }
    }

    /// Whether the Service wants something.
    pub(super) const fn wants_any(&self) -> bool {
        !matches!(self.wanted, Wanted::Nothing)
    }

    /// Whether a request of the Service still needs an answer.
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.wanted, Wanted::Asking { .. })
    }

    fn unanswered_key(&self) -> Option<&str> {
        match &self.knowledge {
            Knowledge::Unanswered { key } | Knowledge::UnansweredThenRefused { key } => Some(key),
            Knowledge::Nothing | Knowledge::Answered => None,
        }
    }

    /// Whether the sidecar may have something for the Service.
    fn may_have_any(&self) -> bool {
        !matches!(self.knowledge, Knowledge::Nothing) || !self.held.is_empty()
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
