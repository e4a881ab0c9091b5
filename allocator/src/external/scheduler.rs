//! Which call is sent next, and what an answer means.

use std::collections::BTreeSet;
use std::time::Duration;

use runtime::BootTime;

use super::allocations::{ExternalAllocations, ExternalGroup};
use super::call::{Call, CallError, Request, Response};
use super::sidecar::IN_FLIGHT;
use crate::model::ServiceName;

/// How often a sidecar is asked for its numbers when nothing else happens. It also bounds how late an outage is noticed.
const STATS_PERIOD: Duration = Duration::from_secs(60);
/// How soon after a change a sidecar is asked for its numbers.
const STATS_SOON: Duration = Duration::from_secs(1);

/// What an answer leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Services to plan again.
    pub services: Vec<ServiceName>,
    /// Groups whose status may have changed.
    pub groups: BTreeSet<String>,
    /// A release that failed for the first time: the group, the Service, the cause.
    pub release_failed: Option<(String, ServiceName, String)>,
}

impl ExternalAllocations {
    pub(super) fn enqueue(&mut self, group_name: &str, name: &ServiceName) {
        let Some(group) = self.groups.get_mut(group_name) else { return };
        let Some(sidecar) = self.sidecars.get_mut(&group.socket) else { return };
        let Some(allocation) = group.allocations.get_mut(name) else { return };
        if allocation.is_queued() || allocation.next_request(name).is_none() {
            return;
        }
        if allocation.ready_at() > self.now {
            sidecar.later.insert((allocation.ready_at(), group_name.to_owned(), name.clone()));
        } else if allocation.enqueue() {
            sidecar.queue.push_back((group_name.to_owned(), name.clone()));
        }
    }

    /// The next call to send, if there is any.
    pub fn next_call(&mut self, now: BootTime) -> Option<Call> {
        self.now = self.now.max(now);
        let sockets: Vec<String> = self
            .sidecars
            .iter()
            .filter(|(_, sidecar)| sidecar.has_room(now))
            .map(|(socket, _)| socket.clone())
            .collect();
        sockets.into_iter().find_map(|socket| {
            let due = self.sidecars.get_mut(&socket).map(|sidecar| sidecar.take_due(now)).unwrap_or_default();
            for (group, name) in due {
                self.enqueue(&group, &name);
            }
            let call = self.queued_call(&socket).or_else(|| self.stats_call(&socket))?;
            self.sidecars.get_mut(&socket)?.in_flight += 1;
            Some(call)
        })
    }

    fn queued_call(&mut self, socket: &str) -> Option<Call> {
        loop {
            let (group_name, name) = self.sidecars.get_mut(socket)?.queue.pop_front()?;
            let Some(group) = self.groups.get_mut(&group_name) else { continue };
            let Some(allocation) = group.allocations.get_mut(&name) else { continue };
            allocation.dequeue();
            if group.socket != socket {
                continue;
            }
            let Some(request) = allocation.next_request(&name) else { continue };
            // A group that is gone gives no more addresses.
            if matches!(request, Request::Allocate(..)) && !group.in_use {
                continue;
            }
            self.last_call = self.last_call.next();
            allocation.sent(self.last_call, &request);
            return Some(Call { id: self.last_call, socket: socket.to_owned(), group: group_name, request });
        }
    }

    fn stats_call(&mut self, socket: &str) -> Option<Call> {
        let now = self.now;
        let is_due = |group: &ExternalGroup| {
            group.in_use && group.socket == socket && group.stats_at <= now && group.stats_call.is_none()
        };
        let (group_name, group) = self.groups.iter_mut().find(|(_, group)| is_due(group))?;
        self.last_call = self.last_call.next();
        group.stats_call = Some(self.last_call);
        let request = Request::Stats;
        Some(Call { id: self.last_call, socket: socket.to_owned(), group: group_name.clone(), request })
    }

    /// Takes in the answer to a call of [`next_call`](Self::next_call).
    pub fn answered(&mut self, call: &Call, result: &Result<Response, CallError>, now: BootTime) -> Effects {
        self.now = self.now.max(now);
        let mut effects = Effects::default();
        effects.groups.insert(call.group.clone());
        let unanswered = result.as_ref().err().filter(|error| error.unanswered);
        if let Some(sidecar) = self.sidecars.get_mut(&call.socket)
            && sidecar.call_ended(unanswered, now)
        {
            self.sidecar_changed(&call.socket, unanswered.is_none(), &mut effects);
        }
        match call.request.service() {
            Some(name) => self.allocation_answered(call, name, result, &mut effects),
            None => self.stats_answered(call, result),
        }
        effects
    }

    /// A sidecar has begun or ceased to answer, which concerns every Service that waits for it.
    fn sidecar_changed(&mut self, socket: &str, answers: bool, effects: &mut Effects) {
        let mut again = Vec::new();
        for (group_name, group) in self.groups.iter_mut().filter(|(_, group)| group.socket == socket) {
            effects.groups.insert(group_name.clone());
            group.stats_at = if answers { self.now } else { group.stats_at.min(self.now) };
            for (name, allocation) in &mut group.allocations {
                if answers && allocation.next_request(name).is_some() {
                    allocation.retry_now();
                    again.push((group_name.clone(), name.clone()));
                } else if !answers && allocation.is_asking() {
                    effects.services.push(name.clone());
                }
            }
        }
        for (group, name) in again {
            self.enqueue(&group, &name);
        }
    }

    fn allocation_answered(
        &mut self,
        call: &Call,
        name: &ServiceName,
        result: &Result<Response, CallError>,
        effects: &mut Effects,
    ) {
        let now = self.now;
        let Some(group) = self.groups.get_mut(&call.group) else { return };
        let Some(allocation) = group.allocations.get_mut(name).filter(|allocation| allocation.awaits(call.id)) else {
            return;
        };
        // A Service that still asks took what it gives back just before: nothing is free that was not free then.
        let frees = !allocation.wants_any() && matches!((&call.request, result), (Request::Release(..), Ok(_)));
        allocation.answered(&call.request, result, now);
        if result.is_ok() {
            group.stats_at = group.stats_at.min(now + STATS_SOON);
        }
        match (&call.request, result) {
            (Request::Allocate(..), _) => effects.services.push(name.clone()),
            (Request::Release(..), Err(error)) if allocation.release_failed() => {
                effects.release_failed = Some((call.group.clone(), name.clone(), error.text.clone()));
            }
            _ => {}
        }
        if allocation.is_over() {
            group.allocations.remove(name);
        }
        self.enqueue(&call.group, name);
        if frees {
            self.retry_waiting(&call.group);
        }
    }

    /// An address of the group is free: some of the Services that were refused may try now, the longest waiting first.
    fn retry_waiting(&mut self, group_name: &str) {
        let Some(group) = self.groups.get_mut(group_name) else { return };
        let Some(sidecar) = self.sidecars.get_mut(&group.socket) else { return };
        let waiting: Vec<_> =
            sidecar.later.iter().filter(|(_, later, _)| later == group_name).take(IN_FLIGHT).cloned().collect();
        for entry in waiting {
            sidecar.later.remove(&entry);
            let (_, group_name, name) = entry;
            if let Some(allocation) = group.allocations.get_mut(&name).filter(|allocation| !allocation.is_queued()) {
                allocation.retry_now();
                if allocation.enqueue() {
                    sidecar.queue.push_back((group_name, name));
                }
            }
        }
    }

    fn stats_answered(&mut self, call: &Call, result: &Result<Response, CallError>) {
        let group = self.groups.get_mut(&call.group).filter(|group| group.stats_call == Some(call.id));
        let Some(group) = group else { return };
        group.stats_call = None;
        match result {
            Ok(Response::Stats(stats)) => {
                group.stats = Some(stats.clone());
                group.stats_at = self.now + STATS_PERIOD;
            }
            // The pause of the sidecar bounds how often it is asked.
            Err(error) if error.unanswered => group.stats_at = self.now,
            // The last numbers stay.
            _ => group.stats_at = self.now + STATS_PERIOD,
        }
    }
}
