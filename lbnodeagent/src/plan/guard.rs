//! The VIP guard: from what is to be guarded and what the kernel has to changes.
//!
//! A pass opens ports before it does anything else, and closes them after everything else. So a port is open before the
//! address or the Service's rules are there, and an address is guarded for as long as it is here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use runtime::BootTime;

use crate::decide::guard::Guarding;
use crate::model::guard::{Edit, GuardChange, Openings, Rules};
use crate::model::port::{Opening, Port};

/// How often the time of guarded addresses starts anew. The kernel keeps them for three times as long.
const RENEWAL: Duration = Duration::from_secs(10);
/// How long to wait after a failure, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the kernel has.
#[derive(Debug, Clone, PartialEq)]
enum Written {
    /// Nobody knows, because of an earlier run, or because somebody else changed it.
    Unknown,
    /// Nothing.
    Nothing,
    /// These rules and ports; since when the addresses have their time.
    Guard(Rules, Openings, BootTime),
}

/// What is to be guarded, and what is known of the kernel.
#[derive(Debug, Clone)]
pub struct GuardPlan {
    guarding: Guarding,
    desired: Openings,
    written: Written,
    /// Addresses for which the two may differ.
    pending: BTreeSet<IpAddr>,
    failures: u32,
    /// When the next attempt may be made.
    next: Option<BootTime>,
}

impl Default for GuardPlan {
    fn default() -> Self {
        Self {
            guarding: Guarding::Undecided,
            desired: Openings::default(),
            written: Written::Unknown,
            pending: BTreeSet::new(),
            failures: 0,
            next: None,
        }
    }
}

impl GuardPlan {
    /// Whether the node guards.
    pub const fn set_guarding(&mut self, guarding: Guarding) {
        self.guarding = guarding;
    }

    /// Whether the node is to guard.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        matches!(self.guarding, Guarding::On(_))
    }

    /// Sets the open ports of an address, or that it is not guarded.
    pub fn set(&mut self, ip: IpAddr, ports: Option<BTreeSet<Port>>) {
        if self.desired.of(ip) != ports.as_ref() {
            self.desired.set(ip, ports);
            // What is not written yet is built as a whole.
            if matches!(self.written, Written::Guard(..)) {
                self.pending.insert(ip);
            }
        }
    }

    /// What is to be guarded.
    #[must_use]
    pub const fn desired(&self) -> &Openings {
        &self.desired
    }

    /// Whether there may be rules in the kernel.
    #[must_use]
    pub fn may_have_rules(&self) -> bool {
        self.written != Written::Nothing
    }

    /// How many addresses the kernel guards.
    #[must_use]
    pub fn guarded(&self) -> usize {
        match &self.written {
            Written::Guard(_, openings, _) => openings.len(),
            Written::Unknown | Written::Nothing => 0,
        }
    }

    /// The change that must come before anything else: what is open or guarded from now on.
    #[must_use]
    pub fn before(&self, now: BootTime) -> Option<GuardChange> {
        let Guarding::On(rules) = self.guarding else { return None };
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let (built, written) = match &self.written {
            Written::Guard(built, written, _) => (Some(*built), Some(written)),
            Written::Unknown | Written::Nothing => (None, None),
        };
        if built != Some(rules) {
            let mut openings = self.desired.clone();
            for ip in written.into_iter().flat_map(Openings::addresses) {
                let both = [self.desired.of(ip), written.and_then(|written| written.of(ip))];
                openings.set(ip, Some(both.into_iter().flatten().flatten().copied().collect()));
            }
            return Some(GuardChange::Build(rules, openings));
        }
        let mut edit = Edit::default();
        for ip in &self.pending {
            let Some(ports) = self.desired.of(*ip) else { continue };
            let known = written.and_then(|written| written.of(*ip));
            if known.is_none() {
                edit.guarded.push(*ip);
            }
            edit.opened.extend(openings(*ip, ports, known));
        }
        (edit != Edit::default()).then_some(GuardChange::Edit(edit))
    }

    /// The change that must come after everything else: what is not open or not guarded any more, and renewals.
    #[must_use]
    pub fn after(&self, now: BootTime) -> Option<GuardChange> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        match (&self.guarding, &self.written) {
            (Guarding::Off(_), Written::Unknown | Written::Guard(..)) => Some(GuardChange::Remove),
            (Guarding::On(_), Written::Guard(_, written, renewed)) => {
                self.closing(written, now.since(*renewed) >= RENEWAL)
            }
            _ => None,
        }
    }

    fn closing(&self, written: &Openings, renewal: bool) -> Option<GuardChange> {
        let mut edit = Edit::default();
        for ip in &self.pending {
            let Some(known) = written.of(*ip) else { continue };
            let desired = self.desired.of(*ip);
            // A renewal leaves out what is not guarded any more.
            if desired.is_none() && !renewal {
                edit.unguarded.push(*ip);
            }
            edit.closed.extend(openings(*ip, known, desired));
        }
        edit.renewed = renewal.then(|| self.desired.addresses().collect());
        (edit != Edit::default()).then_some(GuardChange::Edit(edit))
    }

    /// A change was carried out.
    pub fn done(&mut self, change: GuardChange, now: BootTime) {
        (self.failures, self.next) = (0, None);
        match (change, &mut self.written) {
            (GuardChange::Build(rules, openings), written) => {
                self.pending = openings.addresses().chain(self.desired.addresses()).collect();
                *written = Written::Guard(rules, openings, now);
            }
            (GuardChange::Remove, written) => {
                self.pending.clear();
                *written = Written::Nothing;
            }
            (GuardChange::Edit(edit), Written::Guard(_, written, since)) => note(edit, written, since, now),
            (GuardChange::Edit(_), Written::Unknown | Written::Nothing) => {}
        }
        if let Written::Guard(_, written, _) = &self.written {
            let desired = &self.desired;
            self.pending.retain(|ip| written.of(*ip) != desired.of(*ip));
        }
    }

    /// A change failed: nothing is known of the kernel any more, and the next attempt waits.
    pub fn failed(&mut self, now: BootTime) {
        self.written = Written::Unknown;
        let wait = RETRY.0.saturating_mul(1 << self.failures.min(5)).min(RETRY.1);
        self.failures = self.failures.saturating_add(1);
        self.next = Some(now + wait);
    }

    /// Somebody else changed what the kernel has.
    pub fn lost(&mut self) {
        self.written = Written::Unknown;
    }
}

/// The ports of an address that are not among others.
fn openings(ip: IpAddr, ports: &BTreeSet<Port>, others: Option<&BTreeSet<Port>>) -> impl Iterator<Item = Opening> {
    let new = ports.iter().filter(move |port| others.is_none_or(|others| !others.contains(port)));
    new.map(move |port| Opening { ip, port: *port })
}

/// Takes over an edit into what was written.
fn note(edit: Edit, written: &mut Openings, since: &mut BootTime, now: BootTime) {
    for ip in edit.guarded {
        written.set(ip, Some(BTreeSet::new()));
    }
    for (openings, open) in [(edit.opened, true), (edit.closed, false)] {
        for Opening { ip, port } in openings {
            let mut ports = written.of(ip).cloned().unwrap_or_default();
            if open {
                ports.insert(port);
            } else {
                ports.remove(&port);
            }
            written.set(ip, Some(ports));
        }
    }
    for ip in edit.unguarded {
        written.set(ip, None);
    }
    if let Some(renewed) = edit.renewed {
        let renewed: BTreeSet<IpAddr> = renewed.into_iter().collect();
        let gone: Vec<IpAddr> = written.addresses().filter(|ip| !renewed.contains(ip)).collect();
        for ip in gone {
            written.set(ip, None);
        }
        *since = now;
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
