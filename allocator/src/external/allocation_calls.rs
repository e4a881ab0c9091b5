//! The calls for one external allocation: which one is next, and what an answer means.

use std::net::IpAddr;

use api_types::Family;
use runtime::BootTime;

use super::allocation::{ExternalAllocation, pause};
use super::call::{AddressRequest, CallError, CallId, Failure, Request, Response};
use super::queue::Pace;
use super::states::{CallState, Knowledge, Release, Wanted};
use crate::model::Owner;

impl ExternalAllocation {
    /// The next request, which may be sent at [`ready_at`](Self::ready_at).
    pub(super) fn next_request(&self, owner: &Owner) -> Option<Request> {
        if self.is_in_flight() {
            return None;
        }
        if !self.releases_first() {
            let (addresses, key) = &self.restore;
            if !addresses.is_empty() {
                return Some(Request::Restore(owner.clone(), addresses.clone(), key.clone()));
            }
            return match &self.wanted {
                Wanted::Asking { request, .. } => Some(Request::Allocate(owner.clone(), request.clone())),
                _ => None,
            };
        }
        match &self.release {
            Release::All => Some(Request::Release(owner.clone(), None)),
            Release::Addresses(addresses) => {
                addresses.first().map(|address| Request::Release(owner.clone(), Some(*address)))
            }
            Release::Nothing => None,
        }
    }

    /// Whether the next call is a release. One that was refused lets an allocation go first.
    pub(super) fn releases_first(&self) -> bool {
        let asks = self.is_asking() || !self.restore.0.is_empty();
        let first = !asks || !self.release_refused || self.release_at < self.allocate_at;
        self.owes_release() && first
    }

    /// When the next call may be sent.
    pub(super) fn ready_at(&self) -> BootTime {
        if self.releases_first() { self.release_at } else { self.allocate_at }
    }

    pub(super) const fn is_in_flight(&self) -> bool {
        matches!(self.call, CallState::InFlight(_))
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
        self.answered_at = now;
        self.pace = match result.as_ref().map_err(|error| error.failure) {
            Err(Failure::NoAnswer) => Pace::Slow,
            Err(Failure::Broken) => Pace::Alone,
            // The call did not come to anything.
            Err(Failure::Unreachable) => self.pace,
            Ok(_) | Err(Failure::Refused) => Pace::Prompt,
        };
        match (request, result) {
            (Request::Allocate(_, request), Ok(Response::Addresses(addresses))) => self.allocated(request, addresses),
            (Request::Restore(..), Ok(Response::Addresses(addresses))) => {
                self.held.extend(addresses);
                self.restore.0.clear();
            }
            (Request::Restore(..), Err(error)) => match error.failure {
                Failure::Refused => self.restore.0.clear(),
                Failure::NoAnswer | Failure::Broken => self.allocate_at = now + pause(&mut self.failures),
                Failure::Unreachable => {}
            },
            (Request::Release(_, address), Ok(_)) => self.released(*address),
            (Request::Allocate(_, request), Err(error)) => {
                self.allocation_failed(request, error);
                // The pause of a sidecar that cannot be reached is kept for all its calls, in `sidecar`.
                if error.failure != Failure::Unreachable {
                    self.allocate_at = now + pause(&mut self.failures);
                }
            }
            (Request::Release(..), Err(error)) => {
                self.release_failure = Some(error.text.clone());
                self.release_refused |= error.failure == Failure::Refused;
                if error.failure != Failure::Unreachable {
                    self.release_at = now + pause(&mut self.release_failures);
                }
            }
            _ => {}
        }
    }

    fn allocated(&mut self, request: &AddressRequest, addresses: &[IpAddr]) {
        self.held.extend(addresses);
        self.knowledge = Knowledge::Answered;
        if self.release == Release::All && self.release_refused && self.wants_any() {
            // The answer names everything that the sidecar has for the Service, which uses it again.
            self.release = Release::Nothing;
        }
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
        (self.release_failure, self.release_failures, self.release_refused) = (None, 0, false);
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
            self.knowledge = if error.failure == Failure::Refused {
                Knowledge::UnansweredThenRefused { key }
            } else {
                Knowledge::Unanswered { key }
            };
        }
    }

    /// The group moved to another sidecar: what the old one gave, or was to be asked, is asked of the new one.
    pub(super) fn move_to_other_sidecar(&mut self) {
        self.dequeue();
        if let Wanted::Granted { request, .. } = &mut self.wanted {
            self.wanted = Wanted::Asking { request: std::mem::take(request), failure: None };
        }
        self.retry_now();
    }
}
