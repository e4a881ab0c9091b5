//! A simulated IPAM sidecar, and the edge between it and an index.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use api_types::Family;
use runtime::BootTime;

use super::server::{Replica, Server};
use crate::ipam::{Ask, Call, Reply, Request, Stats, Trouble};

/// How it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mood {
    Fine,
    /// It does not answer, and does nothing.
    Silent,
    /// It does what it should, and the answer is lost.
    Lossy,
    /// It refuses with this sentence.
    Refuses(&'static str),
    /// It gives everybody these too.
    Gives(Vec<IpAddr>),
}

/// What a sidecar does, in memory.
#[derive(Debug)]
pub(super) struct Sidecar {
    pub(super) mood: Mood,
    pub(super) free: BTreeMap<Family, Vec<IpAddr>>,
    pub(super) leases: BTreeMap<String, (String, Vec<IpAddr>)>,
    /// What was asked, in words.
    pub(super) heard: Vec<String>,
    pub(super) now: BootTime,
}

impl Sidecar {
    pub(super) fn new(count: u8) -> Self {
        let four = (0..count).map(|number| IpAddr::from([192, 0, 2, number])).collect();
        let six = (0..count).map(|number| format!("2001:db8:2::{number:x}").parse().unwrap()).collect();
        Self {
            mood: Mood::Fine,
            free: BTreeMap::from([(Family::V4, four), (Family::V6, six)]),
            leases: BTreeMap::new(),
            heard: Vec::new(),
            now: BootTime::default() + Duration::from_secs(1),
        }
    }

    pub(super) fn of(&self, service: &str) -> Vec<IpAddr> {
        self.leases.get(&format!("shop/{service}")).map(|(_, addresses)| addresses.clone()).unwrap_or_default()
    }

    pub(super) fn take_heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.heard)
    }

    fn allocate(&mut self, service: &str, ask: &Ask) -> Result<Reply, Trouble> {
        let taken = |leases: &BTreeMap<String, (String, Vec<IpAddr>)>, address: &IpAddr| {
            leases.values().any(|(_, addresses)| addresses.contains(address))
        };
        let (_, mut addresses) = self.leases.get(service).cloned().unwrap_or_default();
        if let Mood::Gives(given) = &self.mood {
            addresses.extend(given.iter().filter(|it| !addresses.contains(it)).copied().collect::<Vec<_>>());
        } else {
            for family in [Family::V4, Family::V6] {
                if !ask.wants(family) || addresses.iter().any(|&address| Family::of(address) == family) {
                    continue;
                }
                let of_key = self.leases.values().filter(|(key, _)| !ask.key.is_empty() && *key == ask.key);
                let shared = of_key.flat_map(|(_, all)| all).copied().find(|&address| Family::of(address) == family);
                let free = || self.free[&family].iter().copied().find(|address| !taken(&self.leases, address));
                let Some(address) = shared.or_else(free) else {
                    return Err(Trouble {
                        silent: false,
                        done: false,
                        text: "ResourceExhausted: none left".to_owned(),
                    });
                };
                addresses.push(address);
            }
        }
        self.leases.insert(service.to_owned(), (ask.key.clone(), addresses.clone()));
        Ok(Reply::Addresses(addresses))
    }

    pub(super) fn answer(&mut self, call: &Call) -> Result<Reply, Trouble> {
        self.heard.push(match &call.request {
            Request::Allocate(name, ask) => {
                format!("allocate {} {}{}", name.name(), u8::from(ask.v4), u8::from(ask.v6))
            }
            Request::Release(name, None) => format!("release {}", name.name()),
            Request::Release(name, Some(address)) => format!("release {} {address}", name.name()),
            Request::Stats => "stats".to_owned(),
        });
        match &self.mood {
            Mood::Silent => {
                return Err(Trouble { silent: true, done: true, text: "Unavailable: nobody there".to_owned() });
            }
            Mood::Refuses(text) => return Err(Trouble { silent: false, done: false, text: (*text).to_owned() }),
            _ => {}
        }
        let result = match &call.request {
            Request::Allocate(name, ask) => self.allocate(&name.to_string(), ask),
            Request::Release(name, address) => {
                if let Some((_, addresses)) = self.leases.get_mut(&name.to_string()) {
                    addresses.retain(|held| address.is_some_and(|address| address != *held));
                }
                self.leases.retain(|_, (_, addresses)| !addresses.is_empty());
                Ok(Reply::Released)
            }
            Request::Stats => {
                let used: Vec<&IpAddr> = self.leases.values().flat_map(|(_, addresses)| addresses).collect();
                let count = |six: bool| used.iter().filter(|address| address.is_ipv6() == six).count();
                let number = |count: usize| u64::try_from(count).unwrap();
                let size = number(self.free[&Family::V4].len());
                let used = (number(count(false)), number(count(true)));
                Ok(Reply::Stats(Stats { used, size: Some((size, size)), shown: vec!["192.0.2.0/24".to_owned()] }))
            }
        };
        if self.mood == Mood::Lossy {
            return Err(Trouble { silent: true, done: true, text: "DeadlineExceeded: no answer".to_owned() });
        }
        result
    }

    /// Works until nothing is left to do now.
    pub(super) fn settle(&mut self, server: &mut Server, replica: &mut Replica) {
        for _ in 0..1000 {
            replica.settle(server);
            let Some(call) = replica.index.next_call(self.now) else { return };
            let answer = self.answer(&call);
            replica.index.answered(&call, &answer, self.now);
        }
        panic!("never comes to rest: {:?}", self.heard.iter().rev().take(20).collect::<Vec<_>>());
    }

    /// Lets time pass, then works.
    pub(super) fn later(&mut self, seconds: u64, server: &mut Server, replica: &mut Replica) {
        self.now = self.now + Duration::from_secs(seconds);
        self.settle(server, replica);
    }
}
