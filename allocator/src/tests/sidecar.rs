//! A simulated IPAM sidecar, and the edge between it and an index.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use api_types::Family;
use runtime::BootTime;

use super::api_server::ApiServer;
use super::replica::Replica;
use crate::external::{AddressRequest, Call, CallError, Failure, Listed, Request, Response, Stats};
use crate::model::{Owner, ServiceName};

/// How the sidecar behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Behavior {
    Normal,
    /// It does not answer, and does nothing.
    NotAnswering,
    /// It carries out the call, and the answer is lost.
    LosesAnswers,
    /// It does not answer calls for this Service in time, and does nothing.
    SlowFor(&'static str),
    /// It refuses with this text.
    Refuses(&'static str),
    /// It takes nothing back, with this text.
    RefusesReleases(&'static str),
    /// It gives every Service these addresses too.
    Gives(Vec<IpAddr>),
    /// It gives another address at each call, and names only that one.
    GivesAnother,
}

/// Cluster, Service, UID.
pub(super) type Key = (String, String, String);

/// A sidecar in memory.
#[derive(Debug)]
pub(super) struct Sidecar {
    pub(super) behavior: Behavior,
    pub(super) free: BTreeMap<Family, Vec<IpAddr>>,
    /// By cluster, Service and UID; without those two if the sidecar does not keep owners.
    pub(super) allocations: BTreeMap<Key, (String, Vec<IpAddr>)>,
    /// Whether it keeps allocations by cluster and UID.
    pub(super) keeps_owners: bool,
    /// Whether it says so.
    pub(super) says_keeps_owners: bool,
    /// How many allocations it lists at once, if it does.
    pub(super) lists: Option<usize>,
    /// Whether the second page names itself as the next one.
    pub(super) repeats_pages: bool,
    /// The calls, as text.
    pub(super) calls: Vec<String>,
    pub(super) now: BootTime,
}

impl Sidecar {
    pub(super) fn new(count: u8) -> Self {
        let four = (0..count).map(|number| IpAddr::from([192, 0, 2, number])).collect();
        let six = (0..count).map(|number| format!("2001:db8:2::{number:x}").parse().unwrap()).collect();
        Self {
            behavior: Behavior::Normal,
            free: BTreeMap::from([(Family::V4, four), (Family::V6, six)]),
            allocations: BTreeMap::new(),
            keeps_owners: true,
            says_keeps_owners: true,
            lists: None,
            repeats_pages: false,
            calls: Vec::new(),
            now: BootTime::default() + Duration::from_secs(1),
        }
    }

    pub(super) fn of(&self, service: &str) -> Vec<IpAddr> {
        let name = format!("shop/{service}");
        let of_service = self.allocations.iter().filter(|((_, service, _), _)| *service == name);
        of_service.flat_map(|(_, (_, addresses))| addresses).copied().collect()
    }

    fn key(&self, call: &Call, owner: &Owner) -> Key {
        let (cluster, uid) = if self.keeps_owners { (&*call.cluster, &*owner.uid) } else { ("", "") };
        (cluster.to_owned(), owner.name.to_string(), uid.to_owned())
    }

    pub(super) fn take_calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.calls)
    }

    fn allocate(&mut self, key: Key, request: &AddressRequest) -> Result<Response, CallError> {
        let taken = |allocations: &BTreeMap<Key, (String, Vec<IpAddr>)>, address: &IpAddr| {
            allocations.values().any(|(_, addresses)| addresses.contains(address))
        };
        let (_, mut addresses) = self.allocations.get(&key).cloned().unwrap_or_default();
        if let Behavior::Gives(given) = &self.behavior {
            addresses.extend(given.iter().filter(|it| !addresses.contains(it)).copied().collect::<Vec<_>>());
        } else {
            for family in [Family::V4, Family::V6] {
                let has_any = addresses.iter().any(|&address| Family::of(address) == family);
                if !request.wants(family) || has_any && self.behavior != Behavior::GivesAnother {
                    continue;
                }
                let of_key =
                    self.allocations.values().filter(|(key, _)| !request.key.is_empty() && *key == request.key);
                let shared = of_key.flat_map(|(_, all)| all).copied().find(|&address| Family::of(address) == family);
                let free = || self.free[&family].iter().copied().find(|address| !taken(&self.allocations, address));
                let Some(address) = shared.or_else(free) else {
                    return Err(CallError {
                        failure: Failure::Refused,
                        may_have_acted: false,
                        text: "ResourceExhausted: none left".to_owned(),
                    });
                };
                addresses.push(address);
            }
        }
        self.allocations.insert(key, (request.key.clone(), addresses.clone()));
        if self.behavior == Behavior::GivesAnother {
            addresses = addresses.split_off(addresses.len() - 1);
        }
        Ok(Response::Addresses(addresses))
    }

    fn restore(&mut self, key: Key, wanted: &BTreeSet<IpAddr>, sharing: &str) -> Result<Response, CallError> {
        let others = self.allocations.iter().filter(|(other, _)| **other != key);
        let mut taken = others.flat_map(|(_, (_, addresses))| addresses);
        if taken.any(|address| wanted.contains(address)) {
            let text = "FailedPrecondition: another Service has it".to_owned();
            return Err(CallError { failure: Failure::Refused, may_have_acted: false, text });
        }
        let (_, addresses) = self.allocations.entry(key).or_insert_with(|| (sharing.to_owned(), Vec::new()));
        addresses.extend(wanted.iter().filter(|address| !addresses.contains(address)).copied().collect::<Vec<_>>());
        Ok(Response::Addresses(addresses.clone()))
    }

    fn list(&self, call: &Call, page: &str) -> Response {
        let (from, some) = (page.parse().unwrap_or(0), self.lists.unwrap());
        let ours = self.allocations.iter().filter(|((cluster, ..), _)| **cluster == *call.cluster);
        let listed = ours.clone().skip(from).take(some).map(|((_, service, uid), (_, addresses))| {
            let (namespace, name) = service.split_once('/').unwrap();
            let owner = Owner::new(&ServiceName::new(namespace, name), uid);
            Listed { owner, addresses: addresses.iter().copied().collect() }
        });
        let next = if self.repeats_pages {
            "1".to_owned()
        } else if from + some < ours.clone().count() {
            (from + some).to_string()
        } else {
            String::new()
        };
        Response::Listed(listed.collect(), next)
    }

    pub(super) fn answer(&mut self, call: &Call) -> Result<Response, CallError> {
        self.calls.push(match &call.request {
            Request::Allocate(owner, request) => {
                format!("allocate {} {}{}", owner.name.name(), u8::from(request.v4), u8::from(request.v6))
            }
            Request::Restore(owner, ..) => format!("restore {}", owner.name.name()),
            Request::Release(owner, None) => format!("release {}", owner.name.name()),
            Request::Release(owner, Some(address)) => format!("release {} {address}", owner.name.name()),
            Request::Stats => "stats".to_owned(),
            Request::List(_) if self.lists.is_none() => {
                self.calls.push("list, which it does not know".to_owned());
                let text = "Unimplemented: List".to_owned();
                return Err(CallError { failure: Failure::Refused, may_have_acted: false, text });
            }
            Request::List(page) => format!("list {page}"),
        });
        match &self.behavior {
            Behavior::NotAnswering => {
                return Err(CallError {
                    failure: Failure::Unreachable,
                    may_have_acted: true,
                    text: "Unavailable: nobody there".to_owned(),
                });
            }
            Behavior::SlowFor(name) if call.request.owner().is_some_and(|owner| owner.name.name() == *name) => {
                return Err(CallError {
                    failure: Failure::NoAnswer,
                    may_have_acted: true,
                    text: "DeadlineExceeded: no answer within 10s".to_owned(),
                });
            }
            Behavior::RefusesReleases(text) if matches!(call.request, Request::Release(..)) => {
                return Err(CallError { failure: Failure::Refused, may_have_acted: false, text: (*text).to_owned() });
            }
            Behavior::Refuses(text) => {
                return Err(CallError { failure: Failure::Refused, may_have_acted: false, text: (*text).to_owned() });
            }
            _ => {}
        }
        let result = match &call.request {
            Request::Allocate(owner, request) => self.allocate(self.key(call, owner), request),
            Request::Restore(owner, wanted, key) => self.restore(self.key(call, owner), wanted, key),
            Request::Release(owner, address) => {
                let key = self.key(call, owner);
                if let Some((_, addresses)) = self.allocations.get_mut(&key) {
                    addresses.retain(|held| address.is_some_and(|address| address != *held));
                }
                self.allocations.retain(|_, (_, addresses)| !addresses.is_empty());
                Ok(Response::Released)
            }
            Request::List(page) => Ok(self.list(call, page)),
            Request::Stats => {
                let used: Vec<&IpAddr> = self.allocations.values().flat_map(|(_, addresses)| addresses).collect();
                let count = |six: bool| used.iter().filter(|address| address.is_ipv6() == six).count();
                let number = |count: usize| u64::try_from(count).unwrap();
                let size = number(self.free[&Family::V4].len());
                let used = (number(count(false)), number(count(true)));
                let ranges = vec!["192.0.2.0/24".to_owned()];
                let keeps_owners = self.keeps_owners && self.says_keeps_owners;
                Ok(Response::Stats(Stats { used, size: Some((size, size)), ranges, keeps_owners }))
            }
        };
        if self.behavior == Behavior::LosesAnswers {
            return Err(CallError {
                failure: Failure::NoAnswer,
                may_have_acted: true,
                text: "DeadlineExceeded: no answer".to_owned(),
            });
        }
        result
    }

    /// Works until nothing is left to do now.
    pub(super) fn settle(&mut self, server: &mut ApiServer, replica: &mut Replica) {
        for _ in 0..1000 {
            replica.settle(server);
            let Some(call) = replica.index.next_call(self.now) else { return };
            let answer = self.answer(&call);
            replica.index.call_answered(&call, &answer, self.now);
        }
        panic!("there is always something left to do: {:?}", self.calls.iter().rev().take(20).collect::<Vec<_>>());
    }

    /// Lets time pass, then works.
    pub(super) fn later(&mut self, seconds: u64, server: &mut ApiServer, replica: &mut Replica) {
        self.now = self.now + Duration::from_secs(seconds);
        self.settle(server, replica);
    }
}
