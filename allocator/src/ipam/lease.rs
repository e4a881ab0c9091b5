//! What one Service has, wants and gives back of one group. Calls for it go one after the other, so that a release
//! never overtakes an allocation.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use api_types::Family;
use runtime::BootTime;

use super::call::{Ask, Reply, Request, Trouble};
use crate::service::Name;

/// The pause after the first refusal; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// One Service's account with one group.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Lease {
    /// What the Service wants and does not have.
    pub(super) ask: Option<Ask>,
    /// What the sidecar gave, and for what.
    pub(super) grant: Option<(Ask, Vec<IpAddr>)>,
    /// Why it gave nothing.
    pub(super) trouble: Option<String>,
    /// What the sidecar takes for given, as far as is known.
    pub(super) held: BTreeSet<IpAddr>,
    /// An allocation was sent: there may be more than `held`.
    pub(super) sent: bool,
    /// An allocation was not answered: the sidecar may take more for given than `held`. Its sharing key.
    unsure: Option<String>,
    /// A later one was refused, so that nothing of it is to be expected any more.
    in_vain: bool,
    /// To be given back.
    pub(super) back: BTreeSet<IpAddr>,
    /// All of it is to be given back, before anything is asked for.
    pub(super) back_all: bool,
    /// A write is under way by which the Service gives these up, or all; they are given back when it is done.
    pub(super) leaving: BTreeSet<IpAddr>,
    pub(super) leaving_all: bool,
    /// The call under way.
    pub(super) flight: Option<u64>,
    /// Whether it waits in its sidecar's queue.
    pub(super) queued: bool,
    /// Whether it was said that giving back fails.
    pub(super) told: bool,
    failures: u32,
    /// Nothing is asked for before.
    ask_at: BootTime,
    /// Nothing is given back before.
    back_at: BootTime,
}

impl Lease {
    /// What to call next, at [`when`](Self::when).
    pub(super) fn next(&self, name: &Name) -> Option<Request> {
        if self.flight.is_some() {
            return None;
        }
        if self.back_all {
            return Some(Request::Release(name.clone(), None));
        }
        if let Some(address) = self.back.first() {
            return Some(Request::Release(name.clone(), Some(*address)));
        }
        let ask = self.ask.as_ref().filter(|_| !self.is_served())?;
        Some(Request::Allocate(name.clone(), ask.clone()))
    }

    /// When the next call may be sent.
    pub(super) fn when(&self) -> BootTime {
        if self.owes() { self.back_at } else { self.ask_at }
    }

    /// Whether the present wish has been answered.
    pub(super) fn is_served(&self) -> bool {
        match (&self.ask, &self.grant) {
            (Some(ask), Some((granted, _))) => ask == granted,
            (ask, _) => ask.is_none(),
        }
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_over(&self) -> bool {
        self.flight.is_none() && self.ask.is_none() && self.held.is_empty() && !self.sent && !self.back_all
    }

    /// Whether something waits to be given back.
    pub(super) fn owes(&self) -> bool {
        self.back_all || !self.back.is_empty()
    }

    /// Somebody may have asked for it whose answer nobody knows.
    pub(super) fn suspect(&mut self, key: &str) {
        self.sent = true;
        self.unsure = Some(key.to_owned());
    }

    /// Notes what a write under way gives up: should this process end before it gives that back, its successor does.
    pub(super) fn leave(&mut self, asked: bool, kept: &[IpAddr]) {
        if !asked {
            (self.ask, self.grant, self.trouble) = (None, None, None);
        }
        let gone = self.held.iter().filter(|address| !kept.contains(address));
        self.leaving = gone.copied().collect();
        self.leaving_all = !asked && (self.sent || !self.held.is_empty()) && self.leaving.len() == self.held.len();
    }

    fn stay(&mut self) {
        self.leaving.clear();
        self.leaving_all = false;
    }

    /// A new wish; an old answer to the same one stands.
    pub(super) fn ask(&mut self, ask: Ask) {
        if self.ask.as_ref() != Some(&ask) {
            if self.grant.as_ref().is_some_and(|(granted, _)| *granted != ask) {
                self.grant = None;
            }
            self.ask = Some(ask);
            self.trouble = None;
            self.at_once();
        }
    }

    /// Nothing is wanted any more, and nothing may be kept.
    pub(super) fn end(&mut self) {
        self.stay();
        (self.ask, self.grant, self.trouble) = (None, None, None);
        self.back.clear();
        if !self.back_all && (self.sent || !self.held.is_empty()) {
            self.back_all = true;
            self.at_once();
        }
    }

    /// Nothing more is wanted; only these may be kept.
    pub(super) fn keep(&mut self, needed: &BTreeSet<IpAddr>) {
        if needed.is_empty() {
            return self.end();
        }
        (self.grant, self.trouble) = (None, None);
        if self.unsure.is_none() {
            self.failures = 0;
        }
        // The answer to a wish for what it has anyway names all that it has.
        let has = |family| needed.iter().any(|&address| Family::of(address) == family);
        self.ask = self.unsure.clone().map(|key| Ask { v4: has(Family::V4), v6: has(Family::V6), key });
        self.give_back_but(needed);
    }

    /// Gives back what is neither needed nor granted.
    pub(super) fn give_back_but(&mut self, needed: &BTreeSet<IpAddr>) {
        self.stay();
        if self.in_vain && needed.is_empty() && !self.back_all {
            (self.back_all, self.back_at) = (true, BootTime::default());
            return;
        }
        let granted = self.grant.as_ref().map(|(_, addresses)| addresses.as_slice()).unwrap_or_default();
        let back = self.held.iter().filter(|address| !needed.contains(address) && !granted.contains(address));
        let back: BTreeSet<IpAddr> = back.copied().collect();
        if back != self.back {
            self.back = back;
            self.back_at = BootTime::default();
        }
    }

    /// Some of what was given cannot be used. With a reason the whole answer is void, and is asked for again later.
    pub(super) fn reject(&mut self, addresses: &[IpAddr], why: Option<&str>, now: BootTime) {
        match why {
            Some(why) if self.grant.is_some() => {
                self.grant = None;
                self.trouble = Some(why.to_owned());
                self.ask_at = self.pause(now);
            }
            Some(_) => {}
            None => {
                if let Some((_, granted)) = &mut self.grant {
                    granted.retain(|address| !addresses.contains(address));
                }
            }
        }
    }

    /// What became of the call under way.
    pub(super) fn answered(&mut self, request: &Request, result: &Result<Reply, Trouble>, now: BootTime) {
        self.flight = None;
        match (request, result) {
            (Request::Allocate(_, asked), Ok(Reply::Addresses(addresses))) => {
                self.held.extend(addresses);
                (self.unsure, self.in_vain) = (None, false);
                let wanted = self.ask.as_ref() == Some(asked) && !self.back_all;
                if wanted {
                    // Its failures are over when the Service has what was given, not before.
                    self.trouble = None;
                    let right = |address: &&IpAddr| asked.wants(Family::of(**address));
                    let granted: Vec<IpAddr> = addresses.iter().filter(right).copied().collect();
                    // What was to go back is wanted again.
                    self.back.retain(|address| !granted.contains(address));
                    self.grant = Some((asked.clone(), granted));
                }
            }
            (Request::Release(_, address), Ok(_)) => {
                self.told = false;
                if let Some(address) = address {
                    self.back.remove(address);
                    self.held.remove(address);
                } else {
                    (self.back_all, self.sent, self.unsure, self.in_vain) = (false, false, None, false);
                    self.held.clear();
                    self.back.clear();
                }
            }
            (request, Err(trouble)) => {
                let asked = matches!(request, Request::Allocate(..));
                if let Request::Allocate(_, ask) = request {
                    self.trouble = Some(trouble.text.clone());
                    if trouble.done {
                        self.unsure = Some(ask.key.clone());
                    }
                    self.in_vain = self.unsure.is_some() && !trouble.silent;
                }
                // Who does not answer is spared by the pause of the sidecar, which ends when it answers anybody.
                if !trouble.silent {
                    let until = self.pause(now);
                    *(if asked { &mut self.ask_at } else { &mut self.back_at }) = until;
                }
            }
            _ => {}
        }
    }

    fn pause(&mut self, now: BootTime) -> BootTime {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures.min(16))).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        now + pause
    }

    /// The next call need not wait.
    pub(super) fn at_once(&mut self) {
        (self.ask_at, self.back_at) = (BootTime::default(), BootTime::default());
    }
}
