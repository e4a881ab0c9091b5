//! Which call is sent next, and what an answer means.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use runtime::BootTime;

use super::allocation::ExternalAllocation;
use super::allocations::{ExternalAllocations, ExternalGroup};
use super::call::{Call, CallError, Failure, Listing, Request, Response};
use super::queue::Pace;
use super::sidecar::SERVICE_CALLS;
use crate::model::{Owner, ServiceName};

/// How often a sidecar is asked for its numbers when nothing else happens. It also bounds how late an outage is noticed.
const STATS_PERIOD: Duration = Duration::from_secs(60);
/// How soon after a change a sidecar is asked for its numbers.
const STATS_SOON: Duration = Duration::from_millis(500);

/// What an answer leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Services to plan again.
    pub services: Vec<ServiceName>,
    /// Groups whose status may have changed.
    pub groups: BTreeSet<String>,
    /// A release that failed for the first time: the group, the Service, the cause.
    pub release_failed: Option<(String, Owner, String)>,
    /// The sidecar does not register what a Service has: the group, the Service, the cause.
    pub restore_refused: Option<(String, Owner, String)>,
    /// What the sidecar of a group has for all Services, to compare.
    pub listing: Option<(String, Listing)>,
}

impl ExternalAllocations {
    pub(super) fn enqueue(&mut self, group_name: &str, owner: &Owner) {
        let Some(group) = self.groups.get_mut(group_name) else { return };
        let Some(sidecar) = self.sidecars.get_mut(&group.socket) else { return };
        let Some(allocation) = group.allocations.get(owner).filter(|allocation| !allocation.is_queued()) else {
            return;
        };
        let Some(request) = allocation.next_request(owner) else { return };
        if group.is_blocked(owner, &request) {
            return;
        }
        let Some(allocation) = group.allocations.get_mut(owner) else { return };
        if allocation.ready_at() > self.now {
            sidecar.later.insert((allocation.ready_at(), group_name.to_owned(), owner.clone()));
        } else if allocation.enqueue() {
            sidecar.queue.push(group_name, owner.clone(), allocation.pace);
        }
    }

    /// Time has passed. Returns the groups whose status may have changed by that.
    pub fn refresh(&mut self, now: BootTime) -> Vec<String> {
        let changed: BTreeSet<&String> =
            self.sidecars.iter_mut().filter_map(|(socket, sidecar)| sidecar.show(now).then_some(socket)).collect();
        let of_changed = self.groups.iter().filter(|(_, group)| changed.contains(&group.socket));
        of_changed.map(|(name, _)| name.clone()).collect()
    }

    /// The next call to send, if there is any.
    pub fn next_call(&mut self, now: BootTime) -> Option<Call> {
        self.now = self.now.max(now);
        let cluster = self.cluster.clone()?;
        let sockets: Vec<String> = self.sidecars.keys().cloned().collect();
        sockets.into_iter().find_map(|socket| self.next_call_to(&socket, &cluster))
    }

    fn next_call_to(&mut self, socket: &str, cluster: &Arc<str>) -> Option<Call> {
        let now = self.now;
        for (group, owner) in self.sidecars.get_mut(socket)?.take_due(now) {
            self.enqueue(&group, &owner);
        }
        let sidecar = self.sidecars.get(socket)?;
        let (may_serve, may_probe, may_try) = (sidecar.has_room(), sidecar.may_be_probed(now), sidecar.may_try(now));
        if may_serve && let Some(call) = self.queued_call(socket, cluster) {
            return Some(call);
        }
        if may_probe && let Some(call) = self.stats_call(socket, cluster).or_else(|| self.list_call(socket, cluster)) {
            self.sidecars.get_mut(socket)?.group_call_sent();
            return Some(call);
        }
        // Nobody asks a group that is gone for its numbers.
        if may_try { self.queued_call(socket, cluster) } else { None }
    }

    fn queued_call(&mut self, socket: &str, cluster: &Arc<str>) -> Option<Call> {
        let groups = self.groups.values().filter(|group| group.in_use && group.socket == socket).count();
        // One call that hangs leaves room for another one of its group.
        let share = (SERVICE_CALLS / groups.max(1)).max(2);
        loop {
            let (group_name, owner, pace) = self.sidecars.get_mut(socket)?.queue.pop(share)?;
            let Some(group) = self.groups.get_mut(&group_name) else { continue };
            let Some(allocation) = group.allocations.get_mut(&owner) else { continue };
            allocation.dequeue();
            if group.socket != socket {
                continue;
            }
            let Some(request) = allocation.next_request(&owner) else { continue };
            // A group that is gone gives no more addresses.
            if !matches!(request, Request::Release(..)) && !group.in_use || group.is_blocked(&owner, &request) {
                continue;
            }
            let Some(allocation) = group.allocations.get_mut(&owner) else { continue };
            let id = self.last_call.next();
            self.last_call = id;
            allocation.sent(id, &request);
            self.sidecars.get_mut(socket)?.queue.sent(id, &group_name, pace);
            return Some(Call {
                id,
                socket: socket.to_owned(),
                group: group_name,
                cluster: Arc::clone(cluster),
                request,
            });
        }
    }

    fn stats_call(&mut self, socket: &str, cluster: &Arc<str>) -> Option<Call> {
        let now = self.now;
        let is_due = |group: &ExternalGroup| {
            // Without the group only one thing is still to be known.
            let is_asked = group.in_use || group.keeps_owners.is_none() && !group.allocations.is_empty();
            is_asked && group.socket == socket && group.stats_at <= now && group.stats_call.is_none()
        };
        // The one that was asked the longest time ago: a group whose numbers never come leaves the others their turn.
        let due = self.groups.iter_mut().filter(|(_, group)| is_due(group));
        let (group_name, group) = due.min_by_key(|(_, group)| group.stats_sent)?;
        self.last_call = self.last_call.next();
        (group.stats_call, group.stats_sent) = (Some(self.last_call), now);
        let (socket, cluster, request) = (socket.to_owned(), Arc::clone(cluster), Request::Stats);
        Some(Call { id: self.last_call, socket, group: group_name.clone(), cluster, request })
    }

    /// Takes in the answer to a call of [`next_call`](Self::next_call).
    pub fn answered(&mut self, call: &Call, result: &Result<Response, CallError>, now: BootTime) -> Effects {
        self.now = self.now.max(now);
        let mut effects = Effects::default();
        effects.groups.insert(call.group.clone());
        let probed = self.groups.get(&call.group).map(|group| group.stats_sent).unwrap_or_default();
        if let Some(sidecar) = self.sidecars.get_mut(&call.socket) {
            sidecar.queue.ended(call.id);
            if sidecar.call_ended(&call.request, result.as_ref().err(), probed, now) {
                let answers = sidecar.outage().is_none();
                self.sidecar_changed(&call.socket, answers, &mut effects);
            }
        }
        match &call.request {
            Request::Allocate(owner, _) | Request::Restore(owner, ..) | Request::Release(owner, _) => {
                self.allocation_answered(call, owner, result, &mut effects);
            }
            Request::Stats => self.stats_answered(call, result, &mut effects),
            Request::List(_) => {
                effects.listing = self.list_answered(call, result).map(|listing| (call.group.clone(), listing));
            }
        }
        effects
    }

    /// A sidecar has begun or ceased to answer, which concerns every Service that waits for it.
    fn sidecar_changed(&mut self, socket: &str, answers: bool, effects: &mut Effects) {
        let mut again = Vec::new();
        for (group_name, group) in self.groups.iter_mut().filter(|(_, group)| group.socket == socket) {
            effects.groups.insert(group_name.clone());
            group.stats_at = if answers { self.now } else { group.stats_at.min(self.now) };
            for (owner, allocation) in &mut group.allocations {
                if answers && allocation.next_request(owner).is_some() {
                    // A call that may be what broke the sidecar keeps its own pause.
                    if allocation.pace != Pace::Alone {
                        allocation.retry_now();
                    }
                    again.push((group_name.clone(), owner.clone()));
                } else if !answers && allocation.is_asking() {
                    effects.services.push(owner.name.clone());
                }
            }
        }
        for (group, owner) in again {
            self.enqueue(&group, &owner);
        }
    }

    fn allocation_answered(
        &mut self,
        call: &Call,
        owner: &Owner,
        result: &Result<Response, CallError>,
        effects: &mut Effects,
    ) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(&call.group) else { return };
        let Some(allocation) = group.allocations.get_mut(owner).filter(|allocation| allocation.awaits(call.id)) else {
            return;
        };
        // A Service that still asks took what it gives back just before: nothing is free that was not free then.
        let frees = !allocation.wants_any() && matches!((&call.request, result), (Request::Release(..), Ok(_)));
        let failed_before = allocation.release_failure().is_some();
        allocation.answered(&call.request, result, now);
        match (&call.request, result) {
            // After a release the annotation `leader-fence` may go.
            (Request::Allocate(..), _) | (Request::Restore(..) | Request::Release(..), Ok(_)) => {
                effects.services.push(owner.name.clone());
            }
            (Request::Restore(..), Err(error)) if error.failure == Failure::Refused => {
                effects.restore_refused = Some((call.group.clone(), owner.clone(), error.text.clone()));
            }
            (Request::Release(..), Err(error)) if !failed_before => {
                effects.release_failed = Some((call.group.clone(), owner.clone(), error.text.clone()));
                // A Service of the same name may wait for it.
                effects.services.push(owner.name.clone());
            }
            _ => {}
        }
        group.forget_if_over(owner);
        match result {
            Ok(_) => group.numbers_changed(now + STATS_SOON),
            // Whether only this call is slow, or went wrong, is seen by the numbers.
            Err(error) if matches!(error.failure, Failure::NoAnswer | Failure::Broken) => group.numbers_changed(now),
            Err(_) => {}
        }
        if self.enqueue_name(&call.group, &owner.name) {
            effects.services.push(owner.name.clone());
        }
        if frees {
            self.retry_waiting(&call.group);
        }
    }

    /// An address of the group is free: some of the Services that were refused may try now, the longest waiting first.
    fn retry_waiting(&mut self, group_name: &str) {
        let Some(group) = self.groups.get_mut(group_name) else { return };
        let Some(sidecar) = self.sidecars.get_mut(&group.socket) else { return };
        let waiting: Vec<_> = sidecar.later.iter().filter(|(_, later, _)| later == group_name).cloned().collect();
        let is_waiting = |(_, _, owner): &(BootTime, String, Owner)| {
            group.allocations.get(owner).is_some_and(ExternalAllocation::waits_for_an_address)
        };
        let waiting: Vec<_> = waiting.into_iter().filter(is_waiting).take(SERVICE_CALLS).collect();
        for entry in waiting {
            sidecar.later.remove(&entry);
            let (_, group_name, owner) = entry;
            if let Some(allocation) = group.allocations.get_mut(&owner).filter(|allocation| !allocation.is_queued()) {
                allocation.retry_now();
                if allocation.enqueue() {
                    sidecar.queue.push(&group_name, owner, Pace::Prompt);
                }
            }
        }
    }

    fn stats_answered(&mut self, call: &Call, result: &Result<Response, CallError>, effects: &mut Effects) {
        let group = self.groups.get_mut(&call.group).filter(|group| group.stats_call == Some(call.id));
        let Some(group) = group else { return };
        group.stats_call = None;
        let knew_owners = group.keeps_owners;
        let refusal = result.as_ref().err().filter(|error| error.failure == Failure::Refused);
        let refusal = refusal.map(|error| error.text.clone());
        if group.stats_refusal != refusal {
            group.stats_refusal = refusal;
            effects.groups.insert(call.group.clone());
        }
        match result {
            Ok(Response::Stats(stats)) => {
                group.keeps_owners = Some(stats.keeps_owners);
                group.stats = Some(stats.clone());
                group.numbers_came(self.now + STATS_SOON, self.now + STATS_PERIOD);
            }
            Err(error) if error.failure != Failure::Refused => group.stats_at = self.now + STATS_SOON,
            // The last numbers stay. A refusal says nothing of owners.
            _ => group.numbers_came(self.now + STATS_SOON, self.now + STATS_PERIOD),
        }
        if group.keeps_owners != knew_owners {
            effects.services.extend(self.enqueue_names(&call.group));
        }
        if result.as_ref().is_err_and(|error| error.failure == Failure::NoAnswer) {
            // Whether it answers for other groups tells whether the sidecar is silent.
            let soon = self.now + STATS_SOON;
            for group in self.groups.values_mut().filter(|group| group.socket == call.socket) {
                group.stats_at = group.stats_at.min(soon);
            }
        }
    }
}
