//! All leases and sidecars. It never waits and knows no network.
//!
//! | Part | Does |
//! |---|---|
//! | `wishes` | what Services want, have and give back |
//! | `calls` | what to call next, and what an answer means |

mod calls;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::Ipam;
use runtime::BootTime;

use super::call::{Ask, Stats};
use super::lease::Lease;
use super::sidecar::Sidecar;
use crate::groups::Table;
use crate::service::Name;

/// What a Service can count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant<'a> {
    /// The answer is not there yet.
    Waiting,
    /// The sidecar gave these.
    Given(&'a [IpAddr]),
    /// It gave nothing, with this sentence.
    Failed(&'a str),
}

/// How a group's sidecar stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It has not been asked yet.
    Unknown,
    /// It answers.
    Answers,
    /// It does not, with this sentence.
    Silent(&'a str),
}

/// What an answer leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effects {
    /// Services to judge again.
    pub judge: Vec<Name>,
    /// Groups whose status may have changed.
    pub groups: BTreeSet<String>,
    /// A release that was refused for the first time: the group, the Service, why.
    pub release_failed: Option<(String, Name, String)>,
}

/// A group that a sidecar serves, or served.
#[derive(Debug)]
struct Pool {
    socket: String,
    /// Whether the group is in use; one that is gone is kept for what is to be given back.
    current: bool,
    leases: BTreeMap<Name, Lease>,
    stats: Option<Stats>,
    stats_at: BootTime,
    stats_flight: Option<u64>,
}

/// All external groups.
#[derive(Debug, Default)]
pub struct Ledger {
    pools: BTreeMap<String, Pool>,
    sidecars: BTreeMap<String, Sidecar>,
    now: BootTime,
    last_call: u64,
}

impl Ledger {
    /// Takes over the external groups of the table; the names of those that are new or have moved to another socket.
    pub fn set_groups(&mut self, table: &Table) -> Vec<String> {
        for pool in self.pools.values_mut() {
            pool.current = false;
        }
        let mut news = Vec::new();
        for (_, group) in table.accepted() {
            let Ipam::External { socket, .. } = &group.ipam else { continue };
            self.sidecars.entry(socket.clone()).or_default();
            match self.pools.get_mut(&group.name) {
                Some(pool) if pool.socket == *socket => pool.current = true,
                Some(pool) => {
                    pool.socket.clone_from(socket);
                    (pool.current, pool.stats, pool.stats_at) = (true, None, BootTime::default());
                    pool.stats_flight = None;
                    // What waits in the queue of the other sidecar, or was answered by it, is asked of this one.
                    for lease in pool.leases.values_mut() {
                        (lease.queued, lease.grant) = (false, None);
                        lease.at_once();
                    }
                    news.push(group.name.clone());
                }
                None => {
                    let pool = Pool {
                        socket: socket.clone(),
                        current: true,
                        leases: BTreeMap::new(),
                        stats: None,
                        stats_at: BootTime::default(),
                        stats_flight: None,
                    };
                    self.pools.insert(group.name.clone(), pool);
                    news.push(group.name.clone());
                }
            }
        }
        for name in &news {
            let waiting: Vec<Name> =
                self.pools.get(name).into_iter().flat_map(|pool| pool.leases.keys().cloned()).collect();
            for service in waiting {
                self.enqueue(name, &service);
            }
        }
        self.pools.retain(|_, pool| pool.current || !pool.leases.is_empty());
        let sockets: BTreeSet<&String> = self.pools.values().map(|pool| &pool.socket).collect();
        self.sidecars.retain(|socket, sidecar| sockets.contains(socket) || sidecar.in_flight > 0);
        news
    }

    /// Forgets everything but the groups: who does not lead has no calls to make.
    pub fn clear(&mut self, table: &Table) {
        *self = Self { last_call: self.last_call, now: self.now, ..Self::default() };
        self.set_groups(table);
    }

    /// What a Service can count on, if this is what it asks for.
    #[must_use]
    pub fn grant(&self, group: &str, name: &Name, ask: &Ask) -> Grant<'_> {
        let Some(pool) = self.pools.get(group) else { return Grant::Waiting };
        if let Some(lease) = pool.leases.get(name) {
            if let Some((_, addresses)) = lease.grant.as_ref().filter(|(granted, _)| granted == ask) {
                return Grant::Given(addresses);
            }
            if let Some(trouble) = lease.trouble.as_ref().filter(|_| lease.ask.as_ref() == Some(ask)) {
                return Grant::Failed(trouble);
            }
        }
        match self.sidecars.get(&pool.socket).and_then(Sidecar::silence) {
            Some(text) => Grant::Failed(text),
            None => Grant::Waiting,
        }
    }

    /// Whether there is no external group, nor anything left of one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// Whether every allocation has reached its Service, and all calls are answered.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let mut leases = self.pools.values().flat_map(|pool| pool.leases.values());
        leases.all(|lease| lease.flight.is_none() && (lease.ask.is_none() || !lease.sent))
    }

    /// What a group has not been able to give back yet: Services, each with one address or nothing for all.
    pub fn owed(&self, group: &str) -> impl Iterator<Item = (&Name, Option<IpAddr>)> {
        let leases = self.pools.get(group).into_iter().flat_map(|pool| &pool.leases);
        leases.flat_map(|(name, lease)| {
            let all = lease.back_all || lease.leaving_all;
            let some = lease.back.iter().chain(lease.leaving.difference(&lease.back)).filter(move |_| !all);
            all.then_some((name, None)).into_iter().chain(some.map(move |address| (name, Some(*address))))
        })
    }

    /// How the sidecar of a group stands.
    #[must_use]
    pub fn standing(&self, group: &str) -> Standing<'_> {
        let sidecar = self.pools.get(group).and_then(|pool| self.sidecars.get(&pool.socket));
        match sidecar {
            Some(sidecar) => match sidecar.silence() {
                Some(text) => Standing::Silent(text),
                None if sidecar.has_answered() => Standing::Answers,
                None => Standing::Unknown,
            },
            None => Standing::Unknown,
        }
    }

    /// The last numbers of a group.
    #[must_use]
    pub fn stats(&self, group: &str) -> Option<&Stats> {
        self.pools.get(group)?.stats.as_ref()
    }
}
