//! What to call next, and what an answer means.

use std::time::Duration;

use runtime::BootTime;

use super::{Effects, Ledger, Pool};
use crate::ipam::call::{Call, Reply, Request, Trouble};
use crate::ipam::sidecar::IN_FLIGHT;
use crate::service::Name;

/// How often a sidecar is asked for numbers when nothing happens; also how soon its death is noticed.
const STATS_PERIOD: Duration = Duration::from_secs(60);
/// How soon after a change it is asked for numbers.
const STATS_SOON: Duration = Duration::from_secs(1);

impl Ledger {
    pub(super) fn enqueue(&mut self, group: &str, name: &Name) {
        let Some(pool) = self.pools.get_mut(group) else { return };
        let Some(sidecar) = self.sidecars.get_mut(&pool.socket) else { return };
        let Some(lease) = pool.leases.get_mut(name) else { return };
        if lease.queued || lease.next(name).is_none() {
            return;
        }
        if lease.when() > self.now {
            sidecar.later.insert((lease.when(), group.to_owned(), name.clone()));
        } else {
            lease.queued = true;
            sidecar.queue.push_back((group.to_owned(), name.clone()));
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
            let due = self.sidecars.get_mut(&socket).map(|sidecar| sidecar.due(now)).unwrap_or_default();
            for (group, name) in due {
                self.enqueue(&group, &name);
            }
            let call = self.queued(&socket).or_else(|| self.due_stats(&socket))?;
            self.sidecars.get_mut(&socket)?.in_flight += 1;
            Some(call)
        })
    }

    fn queued(&mut self, socket: &str) -> Option<Call> {
        loop {
            let (group, name) = self.sidecars.get_mut(socket)?.queue.pop_front()?;
            let Some(pool) = self.pools.get_mut(&group) else { continue };
            let Some(lease) = pool.leases.get_mut(&name) else { continue };
            lease.queued = false;
            if pool.socket != socket {
                continue;
            }
            let Some(request) = lease.next(&name) else { continue };
            // A group that is gone gives nothing any more.
            if matches!(request, Request::Allocate(..)) && !pool.current {
                continue;
            }
            self.last_call += 1;
            lease.flight = Some(self.last_call);
            lease.sent |= matches!(request, Request::Allocate(..));
            return Some(Call { id: self.last_call, socket: socket.to_owned(), group, request });
        }
    }

    fn due_stats(&mut self, socket: &str) -> Option<Call> {
        let now = self.now;
        let due =
            |pool: &Pool| pool.current && pool.socket == socket && pool.stats_at <= now && pool.stats_flight.is_none();
        let (group, pool) = self.pools.iter_mut().find(|(_, pool)| due(pool))?;
        self.last_call += 1;
        pool.stats_flight = Some(self.last_call);
        Some(Call { id: self.last_call, socket: socket.to_owned(), group: group.clone(), request: Request::Stats })
    }

    /// What became of a call of [`next_call`](Self::next_call).
    pub fn answered(&mut self, call: &Call, result: &Result<Reply, Trouble>, now: BootTime) -> Effects {
        self.now = self.now.max(now);
        let mut effects = Effects::default();
        effects.groups.insert(call.group.clone());
        let silent = result.as_ref().err().filter(|trouble| trouble.silent);
        if let Some(sidecar) = self.sidecars.get_mut(&call.socket)
            && sidecar.heard(silent, now)
        {
            self.news_of(&call.socket, silent.is_none(), &mut effects);
        }
        match call.request.service() {
            Some(name) => self.lease_answered(call, name, result, &mut effects),
            None => self.stats_answered(call, result),
        }
        effects
    }

    /// A sidecar answers again, or no longer does: that concerns all who wait for it.
    fn news_of(&mut self, socket: &str, answers: bool, effects: &mut Effects) {
        let mut again = Vec::new();
        for (group, pool) in self.pools.iter_mut().filter(|(_, pool)| pool.socket == socket) {
            effects.groups.insert(group.clone());
            pool.stats_at = if answers { self.now } else { pool.stats_at.min(self.now) };
            for (name, lease) in &mut pool.leases {
                if answers && lease.next(name).is_some() {
                    lease.at_once();
                    again.push((group.clone(), name.clone()));
                } else if !answers && !lease.is_served() {
                    effects.judge.push(name.clone());
                }
            }
        }
        for (group, name) in again {
            self.enqueue(&group, &name);
        }
    }

    fn lease_answered(&mut self, call: &Call, name: &Name, result: &Result<Reply, Trouble>, effects: &mut Effects) {
        let now = self.now;
        let Some(pool) = self.pools.get_mut(&call.group) else { return };
        let Some(lease) = pool.leases.get_mut(name).filter(|lease| lease.flight == Some(call.id)) else { return };
        // A Service that gives back what it could not use frees nothing that it did not take just before.
        let frees = lease.ask.is_none() && matches!((&call.request, result), (Request::Release(..), Ok(_)));
        lease.answered(&call.request, result, now);
        if result.is_ok() {
            pool.stats_at = pool.stats_at.min(now + STATS_SOON);
        }
        match (&call.request, result) {
            (Request::Allocate(..), _) => effects.judge.push(name.clone()),
            (Request::Release(..), Err(trouble)) if !std::mem::replace(&mut lease.told, true) => {
                effects.release_failed = Some((call.group.clone(), name.clone(), trouble.text.clone()));
            }
            _ => {}
        }
        if lease.is_over() {
            pool.leases.remove(name);
        }
        self.enqueue(&call.group, name);
        if frees {
            self.wake(&call.group);
        }
    }

    /// Something is free: some of those who were refused may try at once, the longest waiting first.
    fn wake(&mut self, group: &str) {
        let Some(pool) = self.pools.get_mut(group) else { return };
        let Some(sidecar) = self.sidecars.get_mut(&pool.socket) else { return };
        let woken: Vec<_> =
            sidecar.later.iter().filter(|(_, later, _)| later == group).take(IN_FLIGHT).cloned().collect();
        for waiting in woken {
            sidecar.later.remove(&waiting);
            if let Some(lease) = pool.leases.get_mut(&waiting.2).filter(|lease| !lease.queued) {
                lease.at_once();
                lease.queued = true;
                sidecar.queue.push_back((waiting.1, waiting.2));
            }
        }
    }

    fn stats_answered(&mut self, call: &Call, result: &Result<Reply, Trouble>) {
        let Some(pool) = self.pools.get_mut(&call.group).filter(|pool| pool.stats_flight == Some(call.id)) else {
            return;
        };
        pool.stats_flight = None;
        match result {
            Ok(Reply::Stats(stats)) => {
                pool.stats = Some(stats.clone());
                pool.stats_at = self.now + STATS_PERIOD;
            }
            // The pause of the sidecar bounds how often it is tried.
            Err(trouble) if trouble.silent => pool.stats_at = self.now,
            // The last numbers stay.
            _ => pool.stats_at = self.now + STATS_PERIOD,
        }
    }
}
