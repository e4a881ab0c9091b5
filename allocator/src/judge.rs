//! What one Service should have.
//!
//! [`judge`] looks at one Service and the rest of the world and changes neither. Its [`Verdict`]
//! says which addresses the Service should hold, what to write on it, and what to tell people.
//!
//! | Part | Decides |
//! |---|---|
//! | `ordinary` | one address per family |
//! | `multi` | one address per range |
//! | `pins` | exactly the addresses that the user names |
//! | `external` | addresses from an IPAM sidecar |
//! | `marks` | the annotations |
//! | `failure` | why something could not be had |

mod external;
mod failure;
mod marks;
mod multi;
mod ordinary;
mod pins;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api_types::{Announce, Family, Group};
use ipnetwork::IpNetwork;
use runtime::events::Kind;

pub use failure::Failure;

use crate::groups::Table;
use crate::ipam::{Ask, Ledger};
use crate::pool::Book;
use crate::select::{Bindings, Choice, Denied, choose};
use crate::service::{FamilyPolicy, Scope, Service};

/// What a Service is judged by.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// The groups.
    pub table: &'a Table,
    /// Which namespaces they serve.
    pub bindings: &'a Bindings,
    /// Who holds what, this Service included.
    pub book: &'a Book,
    /// The subnets of the nodes that are alive.
    pub subnets: &'a BTreeSet<IpNetwork>,
    /// What sidecars have answered.
    pub ledger: &'a Ledger,
}

/// Addresses that a sidecar gave and that the Service cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The group.
    pub group: String,
    /// The addresses; there may be none.
    pub addresses: Vec<IpAddr>,
    /// Why the whole answer is of no use; nothing if the rest of it is.
    pub why: Option<String>,
}

/// Something for the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Count {
    /// An address was refused: pool and reason.
    Rejected(String, &'static str),
    /// A multi-pool allocation.
    Multi(String),
    /// An active range gave no address to a multi-pool Service.
    MultiPartial(String),
    /// A balanced allocation.
    Balanced(String),
}

/// Something to tell people: how urgent, reason, sentence.
pub type Note = (Kind, &'static str, String);

/// The annotations that the Service should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `allocated-from`.
    pub groups: Option<String>,
    /// `pool-type`.
    pub pool_type: Option<Announce>,
    /// `skip-ipv6-dad`.
    pub skip_dad: bool,
}

/// What should become of a Service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// The addresses that it should hold, in order.
    pub addresses: Vec<IpAddr>,
    /// The annotations that it should have; nothing leaves them as they are.
    pub target: Option<Target>,
    /// Our annotations should go, all of them: it is not ours any more.
    pub clean: bool,
    /// The annotation `re-evaluate` should go.
    pub clear_re_evaluate: bool,
    /// To tell once the change is written.
    pub notes: Vec<Note>,
    /// Why it does not have all that it wants. It is judged again when something changes.
    pub problem: Option<Note>,
    /// It would take more if there were more, and is judged again too; nothing is wrong with that.
    pub waits: bool,
    /// For the metrics.
    pub counts: Vec<Count>,
    /// What it wants of external groups.
    pub asks: Vec<(String, Ask)>,
    /// What it cannot take of what they gave.
    pub rejects: Vec<Reject>,
}

impl Verdict {
    fn unchanged(service: &Service) -> Self {
        Self { addresses: service.addresses.clone(), ..Self::default() }
    }

    /// Whether anything is to be written.
    #[must_use]
    pub fn changes(&self, service: &Service) -> bool {
        self.clean || self.clear_re_evaluate || self.target.is_some() || self.addresses != service.addresses
    }
}

/// An address that was found for the Service.
#[derive(Debug, Clone)]
struct Given<'a> {
    address: IpAddr,
    group: &'a Group,
}

/// Judges a Service. `lost` are addresses that it must give up because another has the better right.
#[must_use]
pub fn judge(world: World<'_>, service: &Service, lost: &[IpAddr]) -> Verdict {
    match service.scope {
        Scope::Ignored => return Verdict::unchanged(service),
        Scope::OtherClass => {
            return Verdict { clean: service.marks.any || service.marks.fence, ..Verdict::unchanged(service) };
        }
        Scope::Ours if !service.has_cluster_ip => return Verdict::unchanged(service),
        Scope::Ours => {}
    }
    let ours =
        service.marks.allocated || service.addresses.iter().any(|&address| world.table.group_of(address).is_some());
    if !ours && !service.addresses.is_empty() {
        // Somebody else gave it addresses that we know nothing of.
        return Verdict::unchanged(service);
    }
    Case::new(world, service, lost).verdict()
}

/// The families that a Service wants and does not have.
#[must_use]
pub fn missing_families(service: &Service) -> Vec<Family> {
    let has = |family: &Family| service.addresses.iter().any(|&address| Family::of(address) == *family);
    let wanted = if service.families.is_empty() && service.addresses.is_empty() {
        &[Family::V6]
    } else {
        service.families.as_slice()
    };
    wanted.iter().copied().filter(|family| !has(family)).collect()
}

/// One Service under judgement.
struct Case<'a> {
    world: World<'a>,
    service: &'a Service,
    /// What it may keep of the addresses it has.
    held: Vec<IpAddr>,
    /// Where its new addresses come from.
    sources: BTreeMap<IpAddr, &'a Group>,
    verdict: Verdict,
}

impl<'a> Case<'a> {
    fn new(world: World<'a>, service: &'a Service, lost: &[IpAddr]) -> Self {
        let held = service.addresses.iter().copied().filter(|address| !lost.contains(address)).collect();
        let verdict = Verdict { clear_re_evaluate: service.wishes.re_evaluate, ..Verdict::default() };
        Self { world, service, held, sources: BTreeMap::new(), verdict }
    }

    fn choice(&self) -> Result<Choice<'a>, Denied> {
        let (table, bindings) = (self.world.table, self.world.bindings);
        choose(table, bindings, self.service.name.namespace(), self.service.wishes.groups.as_deref())
    }

    fn verdict(mut self) -> Verdict {
        match self.pins() {
            Ok(Some(pins)) => self.pinned(&pins),
            // A Service that has all it wants is not looked at again, whatever its annotations say now.
            Err(_) if self.is_complete() => self.verdict.addresses.clone_from(&self.held),
            Err(failure) => self.fail(&failure),
            Ok(None) if self.is_multi() => self.multi(),
            Ok(None) => self.ordinary(),
        }
        self.finish()
    }

    /// Whether it has an address in every family it wants, none in another, and no wish to move.
    fn is_complete(&self) -> bool {
        !self.service.wishes.re_evaluate
            && !self.held.is_empty()
            && self.held.len() == self.service.addresses.len()
            && self.missing().is_empty()
            && self.held.iter().all(|address| self.wants(*address))
    }

    fn wants(&self, address: IpAddr) -> bool {
        self.service.families.is_empty() || self.service.families.contains(&Family::of(address))
    }

    fn has(&self, family: Family) -> bool {
        self.held.iter().any(|&address| Family::of(address) == family)
    }

    fn missing(&self) -> Vec<Family> {
        self.service.families.iter().copied().filter(|family| !self.has(*family)).collect()
    }

    /// Sets the outcome: what it had and what it gets.
    fn settle(&mut self, addresses: Vec<IpAddr>, given: &[Given<'a>]) {
        self.verdict.addresses = addresses;
        for Given { address, group } in given {
            self.sources.insert(*address, group);
            let note = format!("Assigned {address} from pool {:?}", group.name);
            self.verdict.notes.push((Kind::Normal, api_types::names::reason::ADDRESS_ASSIGNED, note));
        }
    }

    /// The Service keeps what it may keep and gets nothing.
    fn fail(&mut self, failure: &Failure) {
        let kept = self.kept();
        self.verdict.addresses = kept;
        let text = format!("Failed to allocate an address for {}: {failure}", self.service.name);
        self.verdict.problem = Some((Kind::Warning, api_types::names::reason::ALLOCATION_FAILED, text));
        let requested = self.service.wishes.groups.as_deref().unwrap_or("<none>").to_owned();
        self.verdict.counts.extend(failure.pool_count());
        self.verdict.counts.push(Count::Rejected(requested, failure.metric()));
    }

    /// What it holds and may keep, families that are no longer wanted left out.
    fn kept(&self) -> Vec<IpAddr> {
        self.held.iter().copied().filter(|address| self.wants(*address)).collect()
    }

    fn finish(mut self) -> Verdict {
        self.verdict.target = self.target();
        let dropped: Vec<String> = self
            .service
            .addresses
            .iter()
            .filter(|address| !self.verdict.addresses.contains(address))
            .map(ToString::to_string)
            .collect();
        if !dropped.is_empty() {
            let note = format!("Released {}", dropped.join(", "));
            self.verdict.notes.push((Kind::Normal, api_types::names::reason::ADDRESS_RELEASED, note));
        }
        self.verdict
    }

    /// The group that an address comes from: by what was just given, by the ranges, or, for an address that a sidecar
    /// gave, by what was written then.
    fn group_of(&self, address: IpAddr) -> Option<&'a Group> {
        if let Some(group) = self.sources.get(&address) {
            return Some(group);
        }
        let table = self.world.table;
        let marked = || self.service.marked_group(address).and_then(|name| table.get(name));
        table
            .group_of(address)
            .map(|(group, _)| group)
            .or_else(|| marked().filter(|group| external::is_external(group)))
    }

    fn prefers(&self) -> bool {
        self.service.policy == FamilyPolicy::Prefer
    }
}

#[cfg(test)]
mod tests;
