//! Comparing what Services have with what a sidecar says that they have, at the begin of a term and once a day.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::backoff;

use super::allocations::{ExternalAllocations, ExternalGroup};
use super::call::{Call, CallError, Listed, Listing, Request, Response};
use crate::model::Owner;

/// How long a term lasts before a sidecar is asked. By then most Services have what they wait for.
const FIRST: Duration = Duration::from_secs(10);
/// How often it is asked.
const PERIOD: Duration = Duration::from_secs(24 * 3600);
/// The pause after a call that failed. It doubles up to the period: not every sidecar lists.
const AGAIN: Duration = Duration::from_secs(600);
/// How soon a sidecar is asked that has given something twice: the second Service has given it back by then. And how often.
const SOON: Duration = Duration::from_secs(2);
const AT_MOST: Duration = Duration::from_secs(60);
/// The most allocations of a pool that are compared.
const MOST: usize = 200_000;

/// How a listing differs from what Services have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// They are not living Services, and nothing is known of them.
    pub unowned: Vec<Owner>,
    /// The sidecar has the address for a living Service that does not have it.
    pub surplus: Vec<(Owner, IpAddr)>,
    /// A Service has the address, and the sidecar does not list it.
    pub missing: Vec<(Owner, IpAddr)>,
}

impl ExternalAllocations {
    pub(super) fn list_call(&mut self, socket: &str, cluster: &Arc<str>) -> Option<Call> {
        let now = self.now;
        if now < self.begun_at + FIRST {
            return None;
        }
        let is_due = |group: &ExternalGroup| {
            let state = &group.listing;
            group.in_use && group.socket == socket && state.call.is_none() && state.due_at <= now
        };
        let (group_name, group) = self.groups.iter_mut().find(|(_, group)| is_due(group))?;
        let state = &mut group.listing;
        if state.page.is_empty() {
            state.listing = Listing { begun: now, ..Listing::default() };
        }
        self.last_call = self.last_call.next();
        state.call = Some(self.last_call);
        let (socket, cluster, request) = (socket.to_owned(), Arc::clone(cluster), Request::List(state.page.clone()));
        Some(Call { id: self.last_call, socket, group: group_name.clone(), cluster, request })
    }

    /// Returns the listing if this answer completes it.
    pub(super) fn list_answered(&mut self, call: &Call, result: &Result<Response, CallError>) -> Option<Listing> {
        let now = self.now;
        let group = self.groups.get_mut(&call.group).filter(|group| group.listing.call == Some(call.id))?;
        let state = &mut group.listing;
        state.call = None;
        let page = std::mem::take(&mut state.page);
        let Ok(Response::Listed(found, next)) = result else {
            state.due_at = now + backoff::step(AGAIN, PERIOD, state.failures);
            state.failures = state.failures.saturating_add(1);
            return None;
        };
        state.listing.found.extend(found.iter().cloned());
        // A sidecar that repeats itself never ends.
        if next.is_empty() || *next == page || state.listing.found.len() > MOST {
            (state.due_at, state.ended_at, state.failures) = (now + PERIOD, Some(now), 0);
            return Some(Listing { is_complete: next.is_empty(), ..std::mem::take(&mut state.listing) });
        }
        state.page.clone_from(next);
        None
    }

    /// The sidecar of the group seems to have forgotten what it gave: it is asked soon. One that does not list is not.
    pub fn compare_soon(&mut self, group: &str) {
        let now = self.now;
        if let Some(group) = self.groups.get_mut(group) {
            let state = &mut group.listing;
            let earliest = state.ended_at.map_or(now, |at| at + AT_MOST).max(now + SOON);
            if state.failures == 0 {
                state.due_at = state.due_at.min(earliest);
            }
        }
    }

    /// Compares a listing with what is known. What changed since the listing was begun is left out.
    #[must_use]
    pub fn compare(&self, group: &str, listing: &Listing, is_living: impl Fn(&Owner) -> bool) -> Differences {
        let mut differences = Differences::default();
        let Some(group) = self.groups.get(group) else { return differences };
        let is_settled = |owner: &Owner| {
            let known = group.allocations.get(owner);
            known.is_none_or(|known| !known.is_open() && known.answered_at < listing.begun)
        };
        for Listed { owner, addresses } in &listing.found {
            let known = group.allocations.get(owner);
            if known.is_none() && !is_living(owner) && !listing.gone.contains(owner) {
                differences.unowned.push(owner.clone());
            } else if is_settled(owner) && !listing.gone.contains(owner) {
                let surplus = addresses.iter().filter(|address| !known.is_some_and(|known| known.has(**address)));
                differences.surplus.extend(surplus.map(|address| (owner.clone(), *address)));
            }
        }
        if !listing.is_complete {
            return differences;
        }
        let listed: BTreeMap<&Owner, &BTreeSet<IpAddr>> =
            listing.found.iter().map(|listed| (&listed.owner, &listed.addresses)).collect();
        for (owner, known) in group.allocations.iter().filter(|(owner, _)| is_settled(owner)) {
            let is_listed = |address: &IpAddr| listed.get(owner).is_some_and(|listed| listed.contains(address));
            let missing = known.held.iter().filter(|address| !is_listed(address));
            differences.missing.extend(missing.map(|address| (owner.clone(), *address)));
        }
        differences
    }
}
